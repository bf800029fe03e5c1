"""One process at a time writes to a run. Readers need no lock.

The kernel holds the lock (flock) and frees it when the holder ends, however it ends. On file
systems that cannot, and where there is no flock, the file's existence is the lock; it is then
broken if its holder ran on this machine and is gone.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from addkit.errors import RunError
from addkit.runs.disk import disk_errors
from addkit.runs.pointers import pointed_at

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


LOCK = "lock"
"""The file in the run folder; it tells who writes, as JSON."""

UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_held: set[int] = set()


OTHER_RUN = "choose another folder with --run-dir"


@contextmanager
def locked(run: Path, instead: str = OTHER_RUN) -> Iterator[None]:
    """Hold the lock of a run folder, which is made if it is not there.

    Args:
        run: the folder, or any other that one process at a time may write to.
        instead: what whoever is refused can do, apart from stopping the holder.

    Raises:
        RunError: another process, or this one, holds it: says which, and what to do. Or the folder
            cannot be written.
    """
    file = run / LOCK
    with disk_errors(file, 0, lambda: pointed_at(run / "checkpoints", "latest")):
        run.mkdir(parents=True, exist_ok=True)
        descriptor = _taken(file, instead)
    _held.add(descriptor)
    _let_children_go()
    try:
        yield
    finally:
        _held.discard(descriptor)
        _release(file, descriptor)


def is_locked(run: Path) -> bool:
    """True if a process writes to the run now; reads only."""
    file = run / LOCK
    if not file.exists():
        return False
    if not fcntl:
        return not _gone(_holder(file))
    try:
        with file.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return not _gone(_holder(file))
    return False


def _taken(file: Path, instead: str) -> int:
    """An open descriptor that holds the lock and has been signed."""
    try:
        descriptor = _flocked(file, instead) if fcntl else _created(file, instead)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        descriptor = _created(file, instead)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, _signature().encode())
    return descriptor


def _signature() -> str:
    return json.dumps(
        {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(sys.argv),
        }
    )


def _flocked(file: Path, instead: str) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise _refusal(file, instead) from error
            raise
        if _is(file, descriptor):
            return descriptor
        # Its holder has deleted it between the two calls: whoever comes next would make a new one.
        os.close(descriptor)


def _created(file: Path, instead: str) -> int:
    if file.exists() and _gone(_holder(file)):
        file.unlink(missing_ok=True)
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError as error:
        raise _refusal(file, f"{instead}; if it is gone, delete {file}") from error


def _release(file: Path, descriptor: int) -> None:
    """Delete the file, unless the run was moved away from it, and let go."""
    mine = _is(file, descriptor)
    if fcntl:
        if mine:
            file.unlink()
        os.close(descriptor)
    else:  # Windows deletes no open file.
        os.close(descriptor)
        if mine:
            file.unlink()


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(file: Path) -> dict[str, Any]:
    """Who signed it; empty if nobody has."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _gone(holder: dict[str, Any]) -> bool:
    """True if the holder surely does not run any more, or was killed before it could sign."""
    if not holder:
        return True
    return holder.get("host") == socket.gethostname() and not _runs(holder.get("pid"))


def _runs(pid: Any) -> bool:
    """Whether another process has this id. A restarted container gives the same id again."""
    if sys.platform == "win32":  # There, os.kill would end it.
        return True
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(file: Path, instead: str) -> RunError:
    holder = _holder(file)
    pid, host, since = (holder.get(key, "unknown") for key in ("pid", "host", "started"))
    return RunError(
        f"{file.parent}: is being written by process {pid} on {host} since {since}; "
        f"stop it, or {instead}"
    )


@cache
def _let_children_go() -> None:
    """A forked data worker that outlives its killed parent must not hold the lock on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_close_held)


def _close_held() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()
