"""One error for a disk that is full, read-only or broken."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from addkit.errors import AddkitError, RunError

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota of the disk is used up"}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}

NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
"""The system's error number as safetensors and torch.distributed.checkpoint quote it."""


@contextmanager
def disk_errors(
    path: Path, needed: int | None = None, saved: Callable[[], Path | None] | None = None
) -> Iterator[None]:
    """Turn a file system error within into a `RunError` that names what is lost and the remedy.
    Raises `RunError` if an `OSError` came up, or another error whose text quotes one.

    Args:
        path: the file or folder that is being written.
        needed: its size in bytes, where it is known.
        saved: returns the newest whole checkpoint of a training; called only after an error.
    """
    try:
        yield
    except BaseException as error:
        # Of any kind: safetensors and torch raise their own for an error of the system.
        number = _errno_of(error, path)
        if number is None:
            raise
        if number in FULL:
            remedy = "free some space" + (" or lower checkpoints.keep_last" if saved else "")
        elif number in CLOSED:
            remedy = "make the folder writable"
        else:
            remedy = "check the disk"
        state, again = "", "repeat the command"
        if saved is not None:
            state, again = "; there is no checkpoint yet", "begin again"
            if checkpoint := saved():
                state = f"; the last whole checkpoint is {checkpoint}"
                again = "continue with --resume"
        if number == errno.ENOENT:
            # Where the checkpoints are now is not known.
            state, remedy = "", "if its folder was moved or deleted meanwhile, put it back"
            again = "repeat the command" if saved is None else "continue with --resume"
        sizes = [] if needed is None else [f"{format_bytes(needed)} needed"]
        with suppress(OSError):
            # The folder itself may not exist yet.
            existing = next(folder for folder in path.absolute().parents if folder.exists())
            sizes.append(f"{format_bytes(shutil.disk_usage(existing).free)} free")
        raise RunError(
            f"{path}: cannot be written: {FULL.get(number) or os.strerror(number)} "
            f"({', '.join(sizes)}){state}; {remedy}, then {again}"
        ) from error


def _errno_of(error: BaseException, path: Path) -> int | None:
    """The errno behind an error; None if the file system at `path` is not its cause."""
    if isinstance(error, OSError):
        if not isinstance(error.filename, str):
            return error.errno
        # A file in another folder is one that was read, such as a picture.
        name, path = Path(error.filename).absolute(), path.absolute()
        return error.errno if path.parent in name.parents or name in path.parents else None
    # It has been explained already, even if its text quotes an error of the system.
    if isinstance(error, AddkitError):
        return None
    quoted = NUMBER.search(str(error))
    return int(quoted[1] or quoted[2]) if quoted else None


def format_bytes(count: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
