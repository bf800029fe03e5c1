"""Folders of class folders: what lies in them, by name alone."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.image_sets import FileImages
from addkit.data.images import Pixels, check_image
from addkit.data.settings import DataWarning
from addkit.data.splits import hold_out
from addkit.errors import DataError

_LITTER = {"thumbs.db", "desktop.ini"}


class Tree(Protocol):
    """Folders and files, on a disk or as an archive lists them."""

    def is_dir(self, folder: Path) -> bool:
        """True if there is such a folder."""
        ...

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """The names of its visible sub-folders and of its visible files, each sorted."""
        ...

    def below(self, folder: Path) -> list[str]:
        """The paths of every visible file below it, sorted."""
        ...


class Disk:
    """The `Tree` that the system has."""

    def is_dir(self, folder: Path) -> bool:
        """True if there is such a folder."""
        return folder.is_dir()

    def entries(self, folder: Path) -> tuple[list[str], list[str]]:
        """The names of its visible sub-folders and of its visible files, each sorted."""
        entries = sorted(entry for entry in folder.iterdir() if visible(entry.name))
        folders = [entry.name for entry in entries if entry.is_dir()]
        return folders, [entry.name for entry in entries if not entry.is_dir()]

    def below(self, folder: Path) -> list[str]:
        """The paths of every visible file below it, sorted; links are followed."""
        return sorted(_files_below(folder))


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
        found = Counter(self.labels)
        return tuple(found[label] for label in range(num_classes))

    def at(self, positions: Sequence[int]) -> Listing:
        """These files, in this order."""
        return Listing(
            tuple(self.paths[position] for position in positions),
            tuple(self.labels[position] for position in positions),
        )

    def split(self, root: Path, share: float, seed: int, purpose: str) -> tuple[Listing, Listing]:
        """Two listings: what is kept and the share of each class that is held out."""
        above = f"{root}{os.sep}"
        names = [path.removeprefix(above).replace(os.sep, "/") for path in self.paths]
        kept, held = hold_out(self.labels, names, share, seed, purpose)
        return self.at(kept), self.at(held)


def visible(name: str) -> bool:
    """False for what systems leave behind: dot files, Thumbs.db, desktop.ini."""
    return not name.startswith(".") and name.lower() not in _LITTER


def class_names(root: Path, tree: Tree, least: int = 2) -> tuple[str, ...]:
    """The sub-folders of `root` by name. Raises `DataError` if there are too few."""
    names, files = tree.entries(root)
    if len(names) >= least:
        return tuple(names)
    found = f'only "{names[0]}"' if names else f"no sub-folder and {len(files)} files"
    raise DataError(
        f"{root}: class folders needed: at least {least}, found {found}.\n"
        "Put the images of each class into a sub-folder that bears its name."
    )


def list_images(root: Path, classes: Sequence[str], tree: Tree) -> Listing:
    """Every visible file below each class folder that `root` has; their content is not looked at.

    Raises `DataError` for class folders that are empty or that `classes` does not know.
    """
    found = class_names(root, tree, least=1)
    unknown = [name for name in found if name not in set(classes)]
    if unknown:
        raise DataError(
            f"{root}: class folders that train does not have: {', '.join(unknown)}.\n"
            "Rename them as in train, or add training images of these classes."
        )
    files = {name: tree.below(root / name) for name in found}
    _refuse_empty(root, [name for name in found if not files[name]])
    number = {name: label for label, name in enumerate(classes)}
    pairs = [(path, number[name]) for name in found for path in files[name]]
    return Listing(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def missing_folder(path: Path) -> str:
    """`path does not exist`, with a guess where a folder nearby has a similar name."""
    kind = "is not a folder" if path.exists() else "does not exist"
    parent = path.absolute().parent
    if not parent.is_dir():
        return f"{path} {kind}, and neither does {parent}."
    folders = [entry.name for entry in parent.iterdir() if entry.is_dir() and entry != path]
    close = get_close_matches(path.name, folders, n=1)
    guess = f" Did you mean {path.parent / close[0]}?" if close else ""
    return f"{path} {kind}.{guess}"


def _files_below(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = filter(visible, folders)
        yield from (f"{place}{os.sep}{name}" for name in files if visible(name))


def _refuse_empty(root: Path, empty: Sequence[str]) -> None:
    if empty:
        raise DataError(
            f"{root}: class folders without a file: {', '.join(empty)}.\n"
            "Put images into them or remove them."
        )


_CHUNK = 256
_SHOWN = 20


def missing_files(paths: Sequence[str]) -> list[str]:
    """Those that do not exist. Each folder is listed once; no file is touched."""
    present: dict[str, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in present:
            present[folder] = _entries(folder)
        if name not in present[folder]:
            missing.append(path)
    return missing


def shortened(lines: Sequence[str]) -> str:
    """The first 20 lines, indented, and how many more there are."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n  ".join([*lines[:_SHOWN], *more])


def sound_images(
    listing: Listing, root: Path, skip: bool, others: Sequence[Listing] = ()
) -> Listing:
    """The files of the listing that are readable images; each is decoded once.

    With `skip` the others are left out, with one `DataWarning` for each; without it they raise
    one `DataError` that names them all, and those of the `others`, the data's other splits.
    """
    problems = _problems(listing.paths)
    bad = [problem for problem in problems if problem is not None]
    if bad and not skip:
        paths = [path for other in others for path in other.paths]
        bad += [problem for problem in _problems(paths) if problem is not None]
        raise DataError(
            f"{root}: {len(bad)} of {len(listing) + len(paths)} files cannot be used:\n  "
            + "\n  ".join(bad)
            + '\nRepair or remove them, or set data.bad_files = "skip" to leave them out.'
        )
    for problem in bad:
        warnings.warn(f"left out {problem}", DataWarning, stacklevel=2)
    return listing.at([i for i, problem in enumerate(problems) if problem is None])


def _entries(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in os.scandir(folder or os.curdir))
    except OSError:
        return frozenset()


def _problems(paths: Sequence[str]) -> list[str | None]:
    # In chunks, since a pool holds an object for each task it is given.
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(chain.from_iterable(pool.map(_chunk_problems, chunks)))


def _chunk_problems(paths: Sequence[str]) -> list[str | None]:
    return [_problem(path) for path in paths]


def _problem(path: str) -> str | None:
    try:
        check_image(Path(path))
    except DataError as error:
        return str(error)
    return None


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
        """The readable images of a listing; see `addkit.data.folders.sound_images`."""
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
