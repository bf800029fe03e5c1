"""Folders of classes and of image files, listed by name; missing and unreadable files.

Data sets read images through an `ImageStore`, a folder (`FolderStore`) or the shards that were
made of one (`addkit.data.shards`).
"""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from unicodedata import normalize

import torch
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.equal_files import EqualFiles, equal_files
from addkit.data.image_sets import FileImages
from addkit.data.images import Pixels, unreadable
from addkit.data.listing import Ignored, Lister, visible
from addkit.data.names import NameFinder
from addkit.data.settings import DataWarning
from addkit.data.source import hold_out
from addkit.errors import DataError, guess

_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Listing:
    """Files and their classes, in the order of their names."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def column(self) -> Tensor:
        """The labels, (n, 1) int64."""
        return torch.tensor(self.labels, dtype=torch.int64)[:, None]

    def counts(self, num_classes: int) -> tuple[int, ...]:
        """Files of each class."""
        counts = Counter(self.labels)
        return tuple(counts[label] for label in range(num_classes))

    def at(self, positions: Sequence[int]) -> Listing:
        """These files, in this order."""
        return Listing(
            tuple(self.paths[position] for position in positions),
            tuple(self.labels[position] for position in positions),
        )

    def split(self, root: Path, share: float, seed: int, purpose: str) -> tuple[Listing, Listing]:
        """Two listings: the rest, and the share of each class that is held out."""
        # By names below the root, so that the split stays when the folder moves.
        names = [name.replace(os.sep, "/") for name in names_below(root, self.paths)]
        kept, held = hold_out(self.labels, names, share, seed, purpose)
        return self.at(kept), self.at(held)


class ImageStore(Protocol):
    """A folder, or shards in its place. Images are named by the paths they have in the folder."""

    root: Path
    ignored: Ignored
    """What its listings left out."""

    def is_dir(self, folder: Path) -> bool:
        """True if the folder exists."""
        ...

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """The names of its visible sub-folders and of its visible files, each sorted."""
        ...

    def by_folder(self, folder: Path) -> dict[str, list[str]]:
        """The paths of all files below each of its sub-folders, sorted; see `data.listing`."""
        ...

    def equal(self, paths: Sequence[str]) -> EqualFiles:
        """Images of these with the same bytes."""
        ...

    def file(self, path: Path) -> Path:
        """The present path of a file that is no image, such as one of captions."""
        ...

    def reads(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """The files and folders that are read in place of these."""
        ...

    def missing(self, paths: Sequence[str]) -> list[str]:
        """The images of these that do not exist."""
        ...

    def sound(
        self, listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
    ) -> Listing:
        """The readable images of a listing.

        With `skip` the others are left out, with one `DataWarning` for each; without it they raise
        one `DataError` that names them all, and those of the `others`, the data's other splits.
        """
        ...

    def images(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> FileImages:
        """The split of these images and their labels (n, N)."""
        ...


class FolderStore:
    """Images as files below `root`. `left_out` collects those that were unreadable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: set[str] = set()
        self.ignored = Ignored()

    def is_dir(self, folder: Path) -> bool:
        """True if the folder exists."""
        return folder.is_dir()

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """The names of its visible sub-folders and of its visible files, each sorted."""
        try:
            entries = sorted(entry for entry in folder.iterdir() if visible(entry.name))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror}).") from error
        folders = [entry.name for entry in entries if entry.is_dir()]
        return folders, [entry.name for entry in entries if not entry.is_dir()]

    def by_folder(self, folder: Path) -> dict[str, list[str]]:
        """The paths of all files below each sub-folder. Raises `DataError` for unreadable ones."""
        lister = Lister(folder, self.ignored)
        folders, _ = lister.entries(str(folder))
        found = {name: list(lister.below(str(folder / name))) for name in folders}
        if self.ignored.unreadable:
            raise DataError("\n".join(self.ignored.unreadable))
        return found

    def equal(self, paths: Sequence[str]) -> EqualFiles:
        """Files of these with the same bytes; see `equal_files`."""
        return equal_files(paths)

    def file(self, path: Path) -> Path:
        """The path itself."""
        return path

    def reads(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """The paths themselves."""
        return tuple(paths)

    def missing(self, paths: Sequence[str]) -> list[str]:
        """The files of these that do not exist."""
        return missing_files(paths)

    def sound(
        self, listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
    ) -> Listing:
        """The files of the listing that are readable images; each is decoded once."""
        errors = unreadable(listing.paths)  # None for readable ones
        bad = [error for error in errors if error is not None]
        if bad and not skip:
            # All faults at once, rather than those of each split after a training has begun.
            paths = [path for other in others for path in other.paths]
            bad += [error for error in unreadable(paths) if error is not None]
            raise DataError(
                f"{root}: {len(bad)} of {len(listing) + len(paths)} files cannot be used:\n  "
                + "\n  ".join(bad)
                + '\nRepair or remove them, or set data.bad_files = "skip" to leave them out.'
            )
        for error in bad:
            warnings.warn(f"left out {error}", DataWarning, stacklevel=2)
        sound = listing.at([i for i, error in enumerate(errors) if error is None])
        # Collected over splits, for the index of the shards that are made of this folder.
        self.left_out |= set(listing.paths) - set(sound.paths)
        return sound

    def images(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> FileImages:
        """The split of these files."""
        return FileImages(paths, labels, pixels, augmenter)


def names_below(root: Path, paths: Iterable[str | Path]) -> list[str]:
    """Paths relative to the root; unchanged where they are not below it."""
    prefix = "" if root == Path() else f"{root}{os.sep}"
    return [str(path).removeprefix(prefix) for path in paths]


def class_files(root: Path, store: ImageStore, least: int = 2) -> dict[str, list[str]]:
    """The files below each class folder of `root`, by class name; both sorted.

    Names are in Unicode's composed form: macOS writes the decomposed one, so that copies of a
    folder differ. Raises `DataError` for too few class folders, and for empty ones.
    """
    folders = store.by_folder(root)
    # Files next to the class folders are ignored, such as a list of licences.
    if len(folders) < least:
        _, files = store.entries(root)
        present, remedy = f"no sub-folder and {len(files)} files", "Put"
        if folders:
            only = next(iter(folders))
            present = f'only "{only}"'
            if len(store.entries(root / only)[0]) > 1:
                remedy = f'Set data.root = "{root / only}" if the classes are in there, or put'
        raise DataError(
            f"{root}: class folders needed: at least {least}, and there is {present}.\n"
            f"{remedy} the images of each class into a sub-folder that bears its name."
        )
    if empty := [name for name, paths in folders.items() if not paths]:
        line = store.ignored.line()
        raise DataError(
            f"{root}: class folders without a file: {', '.join(empty)}.\n"
            f"Put images into them or remove them.{f'{chr(10)}{line}' if line else ''}"
        )
    classes: dict[str, list[str]] = defaultdict(list)
    for name, paths in folders.items():
        classes[normalize("NFC", name)] += paths
    return {name: sorted(classes[name]) for name in sorted(classes)}


def list_classes(root: Path, files: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Listing:
    """The files by class with the ids that the classes of train have. Raises `DataError` for
    others.
    """
    if unknown := [name for name in files if name not in set(classes)]:
        names = ", ".join(f"{name}{guess(name, classes)}" for name in unknown)
        raise DataError(
            f"{root}: class folders that train does not have: {names}.\n"
            "Rename them as in train, or add training images of these classes."
        )
    # By position in `classes`, so that a split without some class keeps the ids.
    labels = {name: label for label, name in enumerate(classes)}
    pairs = [(path, labels[name]) for name, paths in files.items() for path in paths]
    return Listing(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def missing_folder(path: Path) -> str:
    """`path does not exist`, with a guess where a folder nearby has a similar name."""
    fault = "is not a folder" if path.exists() else "does not exist"

    def folders(folder: str) -> list[str]:
        try:
            with os.scandir(folder or os.curdir) as entries:
                return [entry.name for entry in entries if entry.is_dir()]
        except OSError:
            return []

    finder, parent = NameFinder(folders), path.absolute().parent
    if near := finder.same(str(path)):
        return f"{path} {fault}. Did you mean {near.name}? It differs in {near.differs}."
    if not parent.is_dir():
        return f"{path} {fault}, and neither does {parent}."
    similar = finder.similar(str(path))
    return f"{path} {fault}.{f' Did you mean {similar}?' if similar else ''}"


def missing_files(paths: Sequence[str]) -> list[str]:
    """The files of these that do not exist."""
    # By listing each folder once: on a network file system a stat for each file takes minutes.
    present: dict[str, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in present:
            try:
                entries = os.scandir(folder or os.curdir)
                present[folder] = frozenset(entry.name for entry in entries)
            except (OSError, ValueError):  # a name with a zero character
                present[folder] = frozenset()
        if name not in present[folder]:
            missing.append(path)
    return missing


def shortened(lines: Sequence[str]) -> str:
    """The first 20 lines, indented, and how many more there are."""
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n  ".join([*lines[:_MOST_LINES], *more])
