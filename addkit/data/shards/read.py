"""Reading images from shards, in place of the folder that they were made of."""

from __future__ import annotations

import io
import os
import warnings
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.equal_files import EqualFiles
from addkit.data.folders import FolderStore, ImageStore, Listing, names_below, shortened
from addkit.data.image_sets import FileImages
from addkit.data.images import ImageFile, Pixels
from addkit.data.listing import Ignored
from addkit.data.settings import DataWarning
from addkit.data.shards.index import Index, is_sharded
from addkit.errors import DataError

_MOST_OPEN = 64
"""Shards that a process has open at once."""
_EAGER = 8
"""After so many reads of a shard the system fetches all of it, at once."""
_REMEDY = (
    "`addkit data shard RECIPE FOLDER --verify` lists all broken files; without --verify the "
    "command writes them again."
)


def open_store(root: Path) -> ImageStore:
    """The shards in `root`, if there are some, else the folder itself."""
    return ShardStore(root) if is_sharded(root) else FolderStore(root)


class ShardStore:
    """An `ImageStore` of shards, by their index."""

    def __init__(self, root: Path) -> None:
        """Reads the index alone. Raises `DataError` if it cannot be used."""
        self.root = root
        self.ignored = Ignored()
        self._index = Index.read(root)
        all_members = self._index.members(root)
        names = [name for members in all_members for name in members.names]
        locations = []
        for number, members in enumerate(all_members):
            columns = torch.tensor(
                [members.offsets, members.lengths, members.crc32], dtype=torch.int64
            )  # (3, n of the shard)
            locations.append(torch.cat([torch.full_like(columns[:1], number), columns]).T)
        self._locations = torch.cat(locations)  # (n, 4): shard, offset, length, CRC-32
        self._position = {name: position for position, name in enumerate(names)}
        self._left_out = frozenset(self._index.left_out)
        self._side_files = frozenset(file.name for file in self._index.files)
        # Sorted, so that the names below a folder are one range, found by bisection.
        self._names = sorted([*names, *self._left_out])

    def is_dir(self, folder: Path) -> bool:
        """True if a name is below it."""
        start, stop = self._range(self._prefix(folder))
        return start < stop

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """The first part of each name below it that has more parts, and names without."""
        prefix = self._prefix(folder)
        position, stop = self._range(prefix)
        folders: list[str] = []
        files: list[str] = []
        while position < stop:
            head, slash, _ = self._names[position][len(prefix) :].partition("/")
            (folders if slash else files).append(head)
            # From one sub-folder to the next, without visiting the names in it.
            position = self._range(f"{prefix}{head}/")[1] if slash else position + 1
        # "cat-big/" comes before "cat/", yet "cat" before "cat-big".
        return sorted(folders), sorted(files)

    def by_folder(self, folder: Path) -> dict[str, list[str]]:
        """The paths of the names below each of its sub-folders."""
        above, ranges = f"{folder}{os.sep}", {}
        prefix = self._prefix(folder)
        for inner in self.entries(folder)[0]:
            start, stop = self._range(f"{prefix}{inner}/")
            ranges[inner] = [above + name[len(prefix) :] for name in self._names[start:stop]]
        return ranges

    def equal(self, paths: Sequence[str]) -> EqualFiles:
        """Images of these with the same length and CRC-32, by the index alone."""
        table = self._locations[:, 2:].tolist()
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, name in enumerate(names_below(self.root, paths)):
            if (position := self._position.get(name)) is not None:
                length, check = table[position]
                groups[length, check].append(number)
        return EqualFiles(tuple(tuple(same) for same in groups.values() if len(same) > 1))

    def file(self, path: Path) -> Path:
        """The copy next to the shards, where there is one."""
        # At its name below the root, or directly in the folder if it came from elsewhere.
        (own,) = names_below(self.root, [path])
        name = own if own in self._side_files else path.name
        return self.root / name if name in self._side_files else path

    def reads(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """The folder of the shards, and the files of these that are elsewhere."""
        inside = self.root.parts
        elsewhere = [path for path in paths if path.parts[: len(inside)] != inside]
        return self.root, *(path for path in elsewhere if path.is_file())

    def missing(self, paths: Sequence[str]) -> list[str]:
        """The images of these that the index does not name."""
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
        names = names_below(self.root, listing.paths)
        bad = [name in self._left_out or name not in self._position for name in names]
        for path, left_out in zip(listing.paths, bad, strict=True):
            if left_out:
                text = f"left out {path}: the shards have no readable image of this name"
                warnings.warn(text, DataWarning, stacklevel=2)
        return listing.at([i for i, left_out in enumerate(bad) if not left_out])

    def images(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> FileImages:
        """The split of these images. Raises `DataError` that names shards missing or cut short."""
        names = names_below(self.root, paths)
        locations = self._locations[torch.tensor([self._position[name] for name in names])]
        numbers = torch.unique(locations[:, 0]).tolist()
        # Sizes only, which is quick; checksums are compared image by image while reading.
        problems = []
        for shard in (self._index.shards[number] for number in numbers):
            path = self.root / shard.name
            if not path.is_file():
                problems.append(f"{path}: missing")
            elif (size := path.stat().st_size) != shard.bytes:
                problems.append(f"{path}: {size:,} bytes, and {shard.bytes:,} were written")
        if problems:
            raise DataError(
                f"{self.root}: {len(problems)} of {len(numbers)} shards cannot be used:\n  "
                f"{shortened(problems)}\n{_REMEDY}"
            )
        reader = ShardReader(self.root, [shard.name for shard in self._index.shards])
        return ShardedImages(names, labels, locations, reader, pixels, augmenter)

    def _prefix(self, folder: Path) -> str:
        return "" if folder == self.root else f"{names_below(self.root, [folder])[0]}/"

    def _range(self, prefix: str) -> tuple[int, int]:
        """The positions [start, stop) of the sorted names with this prefix."""
        if not prefix:
            return 0, len(self._names)
        # The prefix ends in "/", and "0" is the letter after it.
        end = f"{prefix[:-1]}0"
        return bisect_left(self._names, prefix), bisect_left(self._names, end)


class ShardedImages(FileImages):
    """`FileImages` whose bytes are in shards.

    Args:
        names: of the n images, their paths in the folder.
        labels: (n, N).
        locations: (n, 4), of each image: shard, offset, length, CRC-32.
        reader: of these shards.
        pixels: size and scale.
        augmenter: of training images.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Tensor,
        locations: Tensor,
        reader: ShardReader,
        pixels: Pixels,
        augmenter: Augmenter,
    ) -> None:
        super().__init__(names, labels, pixels, augmenter)
        self._locations = locations
        self._reader = reader

    @property
    def shards(self) -> Tensor:
        """(n, 2) int64: each image's shard and offset there; see `addkit.data.loader`."""
        return self._locations[:, :2]

    @property
    def sizes(self) -> Tensor:
        """(n,) int64: each image's bytes in its shard."""
        return self._locations[:, 2]

    def source(self, index: int) -> str:
        """Such as `OUT/train-00003.tar: cat/12.jpg`."""
        shard = self._reader.names[int(self._locations[index, 0])]
        return f"{self._reader.root / shard}: {self._paths[index]}"

    def _file(self, index: int) -> ImageFile:
        return io.BytesIO(self._reader.read(*self._locations[index].tolist()))


class ShardReader:
    """Reads bytes of shards. Each process opens its own files, when it first needs them."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = root, names
        # Few descriptors, however many shards: the least recently used one is closed.
        self._opened = lru_cache(_MOST_OPEN)(_OpenShard)

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path, Sequence[str]]]:
        """Without the open files, for loader processes that are spawned."""
        return ShardReader, (self.root, self.names)

    def read(self, shard: int, offset: int, length: int, check: int) -> bytes:
        """The bytes at this offset of shard number `shard`.

        Raises `DataError` that names the shard if it is gone, or if their CRC-32 is not `check`.
        """
        path = self.root / self.names[shard]
        try:
            content = self._opened(path).read(offset, length)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). {_REMEDY}") from error
        if len(content) < length:
            raise DataError(f"{path}: cut short. {_REMEDY}")
        # For each image: SHA-256 of a whole shard would read it all before the first batch.
        if crc32(content) != check:
            raise DataError(f"{path}: altered since it was written. {_REMEDY}")
        return content


class _OpenShard:
    """An open shard, closed with the last reference to it, whichever thread has that."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._reads = 0

    def read(self, offset: int, length: int) -> bytes:
        self._reads += 1
        if self._reads == _EAGER and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        # pread has no position that threads would share.
        return os.pread(self._descriptor, length, offset)

    def __del__(self) -> None:
        # Without an attribute where os.open failed.
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
