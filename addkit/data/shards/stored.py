"""Shards in the place of the folder that they were made of."""

from __future__ import annotations

import os
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from addkit.data import DataWarning
from addkit.data.augment import Augmenter
from addkit.data.file_images import FileImages
from addkit.data.folders import Listing
from addkit.data.pixels import Pixels
from addkit.data.shards.images import ShardedImages
from addkit.data.shards.index import Index, Members, is_sharded
from addkit.data.shards.reader import REMEDY, ShardReader
from addkit.data.shards.store import FolderStore, ImageStore, names_below
from addkit.data.verify import shortened
from addkit.errors import DataError


def open_store(root: Path) -> ImageStore:
    """The shards in `root`, if it holds some, else the folder itself."""
    return ShardStore(root) if is_sharded(root) else FolderStore(root)


class ShardStore:
    """An `ImageStore` that an index of shards tells about."""

    def __init__(self, root: Path) -> None:
        """Reads the index alone. Raises `DataError` if it cannot be used."""
        self.root = root
        self._index = Index.read(root)
        told = self._index.members(root)
        names = [name for members in told for name in members.names]
        self._places = torch.cat([_places(number, one) for number, one in enumerate(told)])
        self._position = {name: position for position, name in enumerate(names)}
        self._left_out = frozenset(self._index.left_out)
        self._names = sorted([*names, *self._left_out])

    def is_dir(self, folder: Path) -> bool:
        """True if a name lies below it."""
        start, stop = self._range(self._prefix(folder))
        return start < stop

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """The first part of each name below it that has more parts, and names without."""
        prefix = self._prefix(folder)
        place, stop = self._range(prefix)
        folders: list[str] = []
        files: list[str] = []
        while place < stop:
            head, slash, _ = self._names[place][len(prefix) :].partition("/")
            (folders if slash else files).append(head)
            place = self._range(f"{prefix}{head}/")[1] if slash else place + 1
        # "cat-big/" comes before "cat/", yet "cat" before "cat-big".
        return sorted(folders), sorted(files)

    def below(self, folder: Path) -> list[str]:
        """The paths of the names below it."""
        prefix = self._prefix(folder)
        start, stop = self._range(prefix)
        above = f"{folder}{os.sep}"
        return [above + name[len(prefix) :] for name in self._names[start:stop]]

    def file(self, path: Path) -> Path:
        """The copy beside the shards, where there is one."""
        names = {file.name for file in self._index.files}
        (own,) = names_below(self.root, [path])
        name = own if own in names else path.name
        return self.root / name if name in names else path

    def reads(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """The folder of the shards, and those of these files that lie elsewhere."""
        inside = self.root.parts
        elsewhere = [path for path in paths if path.parts[: len(inside)] != inside]
        return self.root, *(path for path in elsewhere if path.is_file())

    def missing(self, paths: Sequence[str]) -> list[str]:
        """Those that the index does not name."""
        names = names_below(self.root, paths)
        return [
            path
            for path, name in zip(paths, names, strict=True)
            if name not in self._position and name not in self._left_out
        ]

    def sound(
        self, listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
    ) -> Listing:
        """The listing without what was left out when the shards were written.

        Each of those is a `DataWarning` with `skip`, and without it all are a `DataError`.
        """
        if self._left_out and not skip:
            raise DataError(
                f"{root}: the shards lack {len(self._left_out)} files that could not be used:\n  "
                f'{shortened(sorted(self._left_out))}\nSet data.bad_files = "skip" to do without.'
            )
        bad = [name in self._left_out for name in names_below(self.root, listing.paths)]
        for path, gone in zip(listing.paths, bad, strict=True):
            if gone:
                text = f"left out {path}: no readable image when the shards were written"
                warnings.warn(text, DataWarning, stacklevel=2)
        return listing.at([i for i, gone in enumerate(bad) if not gone])

    def images(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> FileImages:
        """The split of these images. Raises `DataError` that names shards missing or cut short."""
        names = names_below(self.root, paths)
        places = self._places[torch.tensor([self._position[name] for name in names])]
        self._look_for(torch.unique(places[:, 0]).tolist())
        reader = ShardReader(self.root, [shard.name for shard in self._index.shards])
        return ShardedImages(names, labels, places, reader, pixels, augmenter)

    def _look_for(self, numbers: Sequence[int]) -> None:
        problems = []
        for number in numbers:
            shard = self._index.shards[number]
            path = self.root / shard.name
            if not path.is_file():
                problems.append(f"{path}: missing")
            elif (size := path.stat().st_size) != shard.bytes:
                problems.append(f"{path}: {size:,} bytes, and {shard.bytes:,} were written")
        if problems:
            raise DataError(
                f"{self.root}: {len(problems)} of {len(numbers)} shards cannot be used:\n  "
                f"{shortened(problems)}\n{REMEDY}"
            )

    def _prefix(self, folder: Path) -> str:
        return "" if folder == self.root else f"{names_below(self.root, [folder])[0]}/"

    def _range(self, prefix: str) -> tuple[int, int]:
        """Where the names that begin so stand."""
        if not prefix:
            return 0, len(self._names)
        # "0" is the letter after "/".
        end = f"{prefix[:-1]}0"
        return bisect_left(self._names, prefix), bisect_left(self._names, end)


def _places(number: int, members: Members) -> Tensor:
    columns = torch.tensor([members.offsets, members.lengths, members.crc32], dtype=torch.int64)
    return torch.cat([torch.full_like(columns[:1], number), columns]).T
