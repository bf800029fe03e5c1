"""The user's own images, one sub-folder for each class."""

from __future__ import annotations

from pathlib import Path

from addkit.data.augmentation import Augmenter
from addkit.data.folders import ImageStore, Listing, class_names, list_images, missing_folder
from addkit.data.image_sets import FileImages
from addkit.data.settings import ImageFolderConfig
from addkit.data.shards import open_store
from addkit.data.source import Source, facts_of
from addkit.errors import DataError


class ImageFolder(Source):
    """Images in folders named after their classes.

    With train/ and test/ (or val/) those are the splits, and with all three val/ is
    `validation`. Otherwise `test_share` of each class is held out. Building lists names; opening
    a split verifies its images once. `facts.split_sizes` counts files: a split that skips bad
    ones is shorter.
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
        folders = _split_folders(self._root, self.store)
        # Class ids follow from train alone, so that a test/ without some class keeps them.
        classes = class_names(folders.get("train", self._root), self.store)
        self._splits = self._listed(folders, classes)
        # Split -> its readable images.
        self._verified: dict[str, Listing] = {}
        super().__init__(
            facts_of(
                config,
                num_classes=len(classes),
                class_names=classes,
                split_sizes={name: len(listing) for name, listing in self._splits.items()},
                files=self.store.reads(tuple(folders.values()) or (self._root,)),
            )
        )

    def _listed(self, folders: dict[str, Path], classes: tuple[str, ...]) -> dict[str, Listing]:
        root, config, seed = self._root, self._config, self._config.split_seed
        splits = {
            name: list_images(folder, classes, self.store) for name, folder in folders.items()
        }
        if not folders:  # the classes are directly under root
            pool = list_images(root, classes, self.store)
            splits["train"], splits["test"] = pool.split(root, config.test_share, seed, "test")
        if not len(splits["test"]):
            raise DataError(
                f"{root}: one image a class leaves none to test with.\n"
                "Add images, or a test/ folder next to a train/ folder."
            )
        if not config.validation:
            return splits
        if "validation" in splits:
            raise DataError(
                f"{folders['validation']} is the validation split; data.validation must be 0."
            )
        # Out of train, after test: a validation split leaves the test images as they are.
        train, held = splits["train"].split(root, config.validation, seed, "validation")
        return {**splits, "train": train, "validation": held}

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


def _split_folders(root: Path, store: ImageStore) -> dict[str, Path]:
    """Split name -> folder; empty where the classes are directly under root."""
    train, test, val = root / "train", root / "test", root / "val"
    if not store.is_dir(train):
        return {}
    if store.is_dir(test) and store.is_dir(val):
        return {"train": train, "test": test, "validation": val}
    # val/ is the test split where there is no test/, as in ImageNet's layout.
    for folder in (test, val):
        if store.is_dir(folder):
            return {"train": train, "test": folder}
    raise DataError(
        f"{root} has train/ but neither test/ nor val/ next to it.\n"
        f'Add one of them, or set data.root = "{train}" to hold out test images from it.'
    )
