"""The user's own images, one sub-folder for each class."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from addkit.data.augmentation import Augmenter
from addkit.data.folders import (
    ImageStore,
    Listing,
    class_files,
    list_classes,
    missing_folder,
)
from addkit.data.image_sets import FileImages
from addkit.data.listing import BESIDE
from addkit.data.overview import Contents
from addkit.data.settings import ImageFolderConfig
from addkit.data.shards import open_store
from addkit.data.source import SPLIT_NAMES, Source, facts_of
from addkit.errors import DataError


class ImageFolder(Source):
    """Images in folders named after their classes.

    With train/ and test/ (or val/), or longer names such as Training/, those are the splits, and
    with all three val/ is `validation`. Otherwise `test_share` of each class is held out. Building
    lists names; opening a split verifies its images once. `facts.split_sizes` counts files: a split
    that skips bad ones is shorter.
    """

    side_files: tuple[Path, ...] = ()

    def __init__(self, config: ImageFolderConfig) -> None:
        """Raises `DataError` for a missing root, or folders without classes or files."""
        self._config = config
        self._root = config.root.expanduser()
        if not self._root.is_dir():
            raise DataError(
                f"data.root: {missing_folder(self._root)}\n"
                "Name the folder of your images: --set data.root=FOLDER."
            )
        self.store = open_store(self._root)
        folders = split_folders(self._root, self.store)
        parts = folders or {"": self._root}
        self._train = folders.get("train", self._root)
        files = {
            name: class_files(folder, self.store, 2 if name in ("", "train") else 1)
            for name, folder in parts.items()
        }
        # Class ids follow from train alone, so that a test/ without some class keeps them.
        classes = tuple(files["train" if folders else ""])
        listings = {
            name: list_classes(folder, files[name], classes) for name, folder in parts.items()
        }
        self._splits = self._split(folders, listings)
        # Split -> its readable images.
        self._verified: dict[str, Listing] = {}
        self._missing = [
            f"{self._root}: too few images of each class to hold out a {name} split, so that "
            f"nothing can be {use}"
            for name, share, use in (
                ("test", True, "measured"),
                ("validation", config.validation, "chosen on it"),
            )
            if share and name not in self._splits
        ]
        super().__init__(
            facts_of(
                config,
                num_classes=len(classes),
                class_names=classes,
                split_sizes={name: len(listing) for name, listing in self._splits.items()},
                files=self.store.reads(tuple(folders.values()) or (self._root,)),
            )
        )

    def contents(self) -> Contents:
        """The listed images, unread."""
        splits = self._splits.items()
        paths = {name: listing.paths for name, listing in splits}
        labels = {name: listing.column() for name, listing in splits}
        return Contents(
            self.store, paths, labels, (*_nesting_doubt(self._train, self.store), *self._missing)
        )

    def _split(self, folders: dict[str, Path], splits: dict[str, Listing]) -> dict[str, Listing]:
        root, config, seed = self._root, self._config, self._config.split_seed
        if not folders:  # the classes are directly under root
            train, test = splits[""].split(root, config.test_share, seed, "test")
            # One image of each class leaves none to test with.
            splits = {"train": train, **({"test": test} if len(test) else {})}
        # A folder of its own goes before the share, which is a recipe's default.
        if not config.validation or "validation" in splits:
            return splits
        # Out of train, after test: a validation split leaves the test images as they are.
        train, held = splits["train"].split(root, config.validation, seed, "validation")
        return {**splits, "train": train, **({"validation": held} if len(held) else {})}

    def _open(self, name: str, augmenter: Augmenter) -> FileImages:
        # Once, however often the split is opened: decoding every image takes minutes.
        if name not in self._verified:
            others = [listing for split, listing in self._splits.items() if split != name]
            skip = self._config.bad_files == "skip"
            sound = self.store.sound(self._splits[name], self._root, skip, others)
            counts = sound.counts(self.facts.num_classes)
            gone = [c for c, n in zip(self.facts.class_names, counts, strict=True) if not n]
            if name == "train" and gone:
                raise DataError(
                    f"{self._root}: no readable training image in class {', '.join(gone)}.\n"
                    "Add images or remove the class folder."
                )
            self._verified[name] = sound
        listing = self._verified[name]
        return self.store.images(listing.paths, listing.column(), self.pixels, augmenter)


def _nesting_doubt(root: Path, store: ImageStore) -> Iterator[str]:
    """One doubt if all class folders have the same sub-folders, which may be the real classes."""
    folders = store.entries(root)[0]
    first, files = store.entries(root / folders[0])
    if len(first) < 2 or files:
        return
    # `all` ends with the first that differs, so that few folders are listed again.
    if all(store.entries(root / name) == (first, []) for name in folders[1:]):
        yield (
            f"{root}: the class folders {', '.join(folders[:3])} have the same sub-folders, "
            f"{', '.join(first[:3])}: if these are the classes, put together what is in them"
        )


_LIKE_SPLITS = re.compile(
    rf"({'|'.join([*SPLIT_NAMES, 'dev', 'eval', 'evaluation', 'holdout'])})"
    r"(set|data|dataset|images?|imgs?|pictures|photos|split|folder|[\W\d_])*"
)
"""Folders that are splits rather than classes, such as Train_Images, test2 and val-set."""


def split_folders(root: Path, store: ImageStore) -> dict[str, Path]:
    """Split name -> folder; empty where the classes are directly under root.

    Raises `DataError` for folders that look like splits and cannot be used as such.
    """
    names, _ = store.entries(root)
    likely = [name for name in names if _LIKE_SPLITS.fullmatch(name.casefold())]
    # A class may be called train, such as of vehicles: it has images rather than classes in it.
    if not likely or (len(likely) == 1 and not store.entries(root / likely[0])[0]):
        return {}
    found: dict[str, list[str]] = defaultdict(list)
    for name in likely:
        found[SPLIT_NAMES.get(name.casefold(), "unclear")].append(name)
    unclear = found.pop("unclear", [])
    twins = [" and ".join(same) for same in found.values() if len(same) > 1]
    fault = ""
    if twins:
        fault = f"more than one folder of a split: {twins[0]}"
    elif "train" not in found:
        fault = f"no train/, and folders that look like splits: {', '.join(likely)}"
    elif len(found) == 1:
        like = f"; {', '.join(unclear)} looks like one" if unclear else ""
        fault = f"{found['train'][0]}/ but neither test/ nor val/ next to it{like}"
    if fault:
        raise DataError(
            f"{root} has {fault}.\nName the folders of the splits train/ and test/ (or val/), or "
            f'set data.root = "{root / likely[-1]}" to hold out test images from it.'
        )
    # val/ is the test split where there is no test/, as in ImageNet's layout.
    folders = {"train": root / found["train"][0]}
    folders["test"] = root / found.get("test", found.get("validation", []))[0]
    if len(found) == 3:
        folders["validation"] = root / found["validation"][0]
    for name in names:
        if root / name not in folders.values():
            store.ignored.add(BESIDE, str(root / name))
    return folders
