"""Files with the same bytes, found without reading most of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from stat import S_ISREG
from time import monotonic
from zlib import crc32

SECONDS = 5.0
"""After which the search ends, so that a slow disk delays no training for long."""
_PART = 4096


@dataclass(frozen=True, slots=True)
class EqualFiles:
    """Groups of files with the same bytes."""

    groups: tuple[tuple[int, ...], ...]
    """Positions of the files, from two in a group."""
    unfinished: str = ""
    """Why some groups may be missing; empty if none is."""


def equal_files(paths: Sequence[str], seconds: float = SECONDS) -> EqualFiles:
    """Groups of equal files. Sizes are compared first, then a part, and only then all bytes.

    Files that cannot be read are equal to none.
    """
    end = monotonic() + seconds

    def grouped(groups: Iterable[Sequence[int]], key: Callable[[str], Hashable]) -> list[list[int]]:
        found = []
        for group in groups:
            by_key: dict[Hashable, list[int]] = defaultdict(list)
            for position in group:
                if monotonic() > end:
                    raise TimeoutError
                with suppress(OSError):
                    by_key[key(paths[position])].append(position)
            found += [same for same in by_key.values() if len(same) > 1]
        return found

    try:
        groups = grouped(grouped(grouped([range(len(paths))], _size), _middle), _checksum)
    except TimeoutError:
        return EqualFiles((), f"{len(paths):,} files take more than {seconds:g} s to compare")
    return EqualFiles(tuple(map(tuple, groups)))


def _size(path: str) -> int:
    state = os.stat(path)  # noqa: PTH116 - a Path for each file takes longer
    if not S_ISREG(state.st_mode):
        raise OSError  # reading a pipe might never end
    return state.st_size


def _middle(path: str) -> int:
    with Path(path).open("rb") as file:
        # From the middle: images of one size and program begin alike.
        file.seek(os.fstat(file.fileno()).st_size // 2)
        return crc32(file.read(_PART))


def _checksum(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file_digest(file, "blake2b").digest()
