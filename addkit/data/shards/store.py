"""Where a data set's images lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from addkit.data.augment import Augmenter
from addkit.data.file_images import FileImages
from addkit.data.folders import Disk, Listing, Tree
from addkit.data.pixels import Pixels
from addkit.data.verify import missing_files, sound_images


class ImageStore(Tree, Protocol):
    """A folder, or shards that stand for one. Images go by the paths they have in the folder."""

    def file(self, path: Path) -> Path:
        """Where a file that is no image, such as one of captions, lies now."""
        ...

    def reads(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """What is read in place of these files and folders."""
        ...

    def missing(self, paths: Sequence[str]) -> list[str]:
        """Those of these images that do not exist."""
        ...

    def sound(
        self, listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
    ) -> Listing:
        """The readable images of a listing; see `addkit.data.verify.sound_images`."""
        ...

    def images(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> FileImages:
        """The split of these images and their labels (n, N)."""
        ...


class FolderStore(Disk):
    """Images as files below `root`. Remembers which of them were left out as unreadable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: set[str] = set()

    def file(self, path: Path) -> Path:
        """The path itself."""
        return path

    def reads(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """The paths themselves."""
        return tuple(paths)

    def missing(self, paths: Sequence[str]) -> list[str]:
        """Those of these files that do not exist."""
        return missing_files(paths)

    def sound(
        self, listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
    ) -> Listing:
        """The files of the listing that are readable images; each is decoded once."""
        sound = sound_images(listing, root, skip, others)
        self.left_out |= set(listing.paths) - set(sound.paths)
        return sound

    def images(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> FileImages:
        """The split of these files."""
        return FileImages(paths, labels, pixels, augmenter)


def names_below(root: Path, paths: Iterable[str | Path]) -> list[str]:
    """Paths by what follows the root; whole where they do not lie below it."""
    prefix = "" if root == Path() else f"{root}{os.sep}"
    return [str(path).removeprefix(prefix) for path in paths]
