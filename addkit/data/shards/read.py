"""Reading members of shards at their places."""

from __future__ import annotations

import io
import os
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import torch
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.folders import FolderStore, ImageStore, Listing, names_below, shortened
from addkit.data.image_sets import FileImages
from addkit.data.images import ImageFile, Pixels
from addkit.data.settings import DataWarning
from addkit.data.shards.index import Index, Members, is_sharded
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


class ShardedImages(FileImages):
    """`FileImages` whose bytes are those of shards.

    Args:
        names: of the n images, as they were called in the folder.
        labels: (n, N).
        places: (n, 4), where each image is: shard, offset, length, CRC-32.
        reader: of these shards.
        pixels: size and scale.
        augmenter: of training images.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Tensor,
        places: Tensor,
        reader: ShardReader,
        pixels: Pixels,
        augmenter: Augmenter,
    ) -> None:
        super().__init__(names, labels, pixels, augmenter)
        self._places = places
        self._reader = reader

    @property
    def shards(self) -> Tensor:
        """(n, 2) int64: each image's shard and its place in there; see `addkit.data.order`."""
        return self._places[:, :2]

    @property
    def sizes(self) -> Tensor:
        """(n,) int64: each image's bytes in its shard."""
        return self._places[:, 2]

    def source(self, index: int) -> str:
        """Such as `OUT/train-00003.tar: cat/12.jpg`."""
        shard = self._reader.names[int(self._places[index, 0])]
        return f"{self._reader.root / shard}: {self._paths[index]}"

    def _file(self, index: int) -> ImageFile:
        return io.BytesIO(self._reader.read(*self._places[index].tolist()))


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
