"""One process at a time writes to a run. Readers need no lock.

filelock takes the kernel's lock (flock, or its kin on Windows), which ends with its owner, however
that ends, and which forked data workers do not inherit. On a file system without such locks it
writes a marker file, which the next writer takes over if its owner ran on this machine and is gone.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, MarkerSoftFileLock, Timeout, lock_descriptor

from addkit.errors import RunError
from addkit.runs.atomic import delete_temporary
from addkit.runs.checkpoint_files import pointed_at
from addkit.runs.disk import disk_errors

LOCK = "lock"
"""The locked file in the run folder; names its owner, as JSON. Deleted on release."""
MARKER = "lock.marker"
"""The marker file. It is not `LOCK` itself, which is created, empty, before its lock fails."""

UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

OTHER_RUN = "choose another folder with --run-dir"

# A file that its owner deletes between our open and our lock counts as taken: try once more.
RETRY_SECONDS = 0.1


@contextmanager
def locked(run: Path, instead: str = OTHER_RUN) -> Iterator[None]:
    """Hold the lock of a run folder, which is created if it does not exist.

    Args:
        run: the folder, or any other that one process at a time may write to.
        instead: what a refused caller can do, apart from stopping the owner.

    Raises:
        RunError: another process, or this one, has the lock: names it and what to do. Or the
            folder cannot be written.
    """
    file = run / LOCK
    with disk_errors(file, 0, lambda: pointed_at(run / "checkpoints", "latest")):
        run.mkdir(parents=True, exist_ok=True)
        lock = _acquired(file, instead)
        inode = file.stat()
    try:
        yield
    finally:
        # Deleted before it is released, so that no other process can have locked it; unless the
        # run was moved away, and this file is another's. Windows cannot delete an open file.
        with suppress(OSError):
            if sys.platform != "win32" and os.path.samestat(file.stat(), inode):
                delete_temporary(file)
        lock.release()


def is_lock(file: Path) -> bool:
    """True for a file that a killed owner of a lock has left, rather than a user's of that name."""
    if file.name == MARKER:
        return file.is_file()
    return file.name == LOCK and (file.stat().st_size == 0 or "pid" in _signature(file))


def is_locked(run: Path) -> bool:
    """True if a process has the lock now."""
    file, marker = run / LOCK, run / MARKER
    try:
        # Locked and released at once by closing it: a writer that starts in between tries again.
        # Network file systems lock only files that are open for writing.
        with file.open("r+" if os.access(file, os.W_OK) else "r") as opened:
            if not lock_descriptor(opened.fileno(), blocking=False):
                return True
    except OSError:
        pass  # No such file, or no such locks here.
    if not marker.exists():
        return False
    try:
        with MarkerSoftFileLock(marker, blocking=False):
            return False
    except OSError:
        return True


def _acquired(file: Path, instead: str) -> BaseFileLock:
    """A held lock, of the kernel or else of a marker file; raises `RunError` if it is taken."""
    lock: BaseFileLock = FileLock(
        file, timeout=RETRY_SECONDS, thread_local=False, fallback_to_soft=False, on_acquired=_sign
    )
    try:
        lock.acquire()
        return lock
    except Timeout as error:
        raise _refusal(file, _signature(file), instead) from error
    except OSError as error:
        # Only a file system without locks takes the marker; other errors are the disk's.
        if error.errno not in UNSUPPORTED:
            raise
    # No kernel's lock here: a dead owner on another machine cannot be recognised.
    instead = f"{instead}; if it is gone, delete {file}"
    if _signature(file):
        # Signed by the owner of a kernel's lock, which is no longer to be had: it may still run.
        raise _refusal(file, _signature(file), instead)
    marker = file.with_name(MARKER)
    lock = MarkerSoftFileLock(marker, timeout=RETRY_SECONDS, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        signature = {}
        if isinstance(lock, MarkerSoftFileLock) and (owner := lock.owner):
            started = datetime.fromtimestamp(marker.stat().st_mtime, UTC)
            signature = {
                # filelock appends the container to the name of its host.
                "host": owner.hostname.partition("?")[0],
                "pid": owner.pid,
                "started": started.isoformat(timespec="seconds"),
            }
        raise _refusal(file, signature, f"{instead} and {marker}") from error
    return lock


def _sign(descriptor: int) -> None:
    """Write the owner into the locked file, for the error of those who are refused."""
    signature = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
    }
    # The file of a killed owner has its signature still.
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(signature).encode())


def _signature(file: Path) -> dict[str, object]:
    """The owner of the kernel's lock as it signed the file; empty if the file is not signed."""
    try:
        signature = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return signature if isinstance(signature, dict) else {}


def _refusal(file: Path, signature: dict[str, object], instead: str) -> RunError:
    pid, host, since = (signature.get(key, "unknown") for key in ("pid", "host", "started"))
    return RunError(
        f"{file.parent}: is being written by process {pid} on {host} since {since}; "
        f"stop it, or {instead}"
    )
