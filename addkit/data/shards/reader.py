"""Reading members of shards at their places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from addkit.errors import DataError

_OPEN = 64
"""Shards held open at once by a process."""
_EAGER = 8
"""After so many reads of a shard the system is asked to fetch all of it, in one go."""


class ShardReader:
    """Reads bytes of shards. Each process opens its own files, when it first needs them."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = root, names
        self._opened = lru_cache(_OPEN)(_open)

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path, Sequence[str]]]:
        """Without what is open, for loader processes that are spawned."""
        return ShardReader, (self.root, self.names)

    def read(self, shard: int, offset: int, length: int, check: int) -> bytes:
        """The bytes at this place of shard number `shard`.

        Raises `DataError` that names the shard if it is gone, or if their CRC-32 is not `check`.
        """
        path = self.root / self.names[shard]
        try:
            content = self._opened(path).read(offset, length)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). {REMEDY}") from error
        if len(content) < length:
            raise DataError(f"{path}: cut short. {REMEDY}")
        if crc32(content) != check:
            raise DataError(f"{path}: altered since it was written. {REMEDY}")
        return content


REMEDY = (
    "`addkit data shard RECIPE FOLDER --verify` tells all that is broken; without --verify the "
    "command writes it again."
)


class _Opened:
    """An open shard, closed when nobody holds it any more, whichever thread was last."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reads = 0

    def read(self, offset: int, length: int) -> bytes:
        self._reads += 1
        if self._reads == _EAGER and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        return os.pread(self._descriptor, length, offset)

    def __del__(self) -> None:
        os.close(self._descriptor)


def _open(path: Path) -> _Opened:
    return _Opened(os.open(path, os.O_RDONLY))
