"""A disk that is full, read-only or broken, told as one error."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from addkit.errors import AddkitError, RunError

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota of the disk is used up"}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}

NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
"""How safetensors and torch.distributed.checkpoint quote the system's error in their own."""


@contextmanager
def disk_errors(path: Path, needed: int, saved: Callable[[], Path | None]) -> Iterator[None]:
    """Turn an error of the file system within into one that says what is lost and what to do.

    Args:
        path: what is being written.
        needed: its size in bytes.
        saved: the newest checkpoint that is whole; asked only when something has failed.

    Raises:
        RunError: an `OSError` came up, or another error whose text quotes one.
    """
    try:
        yield
    except BaseException as error:
        number = _number(error)
        if number is None:
            raise
        raise RunError(_told(number, path, needed, saved())) from error


def _number(error: BaseException) -> int | None:
    """The errno behind an error; None if the file system is not to blame."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    if isinstance(error, AddkitError):
        return None
    quoted = NUMBER.search(str(error))
    return int(quoted[1] or quoted[2]) if quoted else None


def _told(number: int, path: Path, needed: int, saved: Path | None) -> str:
    reason = FULL.get(number) or os.strerror(number)
    state = f"the last whole checkpoint is {saved}" if saved else "there is no checkpoint yet"
    again = "go on with --resume" if saved else "begin again"
    return (
        f"{path}: cannot be written: {reason} ({_size(needed)} needed, {_free(path)} free); "
        f"{state}; {_remedy(number)}, then {again}"
    )


def _remedy(number: int) -> str:
    if number in FULL:
        return "free some space or lower checkpoints.keep_last"
    if number in CLOSED:
        return "make the folder writable"
    return "see to the disk"


def _free(path: Path) -> str:
    there = next(folder for folder in path.absolute().parents if folder.exists())
    return _size(shutil.disk_usage(there).free)


def _size(count: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
