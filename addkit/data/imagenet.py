"""ImageNet-1k in torchvision's layout."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import cast

from addkit.data.augmentation import Augmenter
from addkit.data.folders import class_files, list_classes, missing_folder
from addkit.data.image_sets import FileImages
from addkit.data.overview import Contents
from addkit.data.settings import DataWarning, ImageNetConfig
from addkit.data.shards import open_store
from addkit.data.source import Source, facts_of
from addkit.errors import DataError, reading

_FOLDERS = {"train": "train", "test": "val"}
_SIZES = {"train": 1_281_167, "test": 50_000}
_CLASSES = 1000
_META, _DEVKIT = "meta.bin", "ILSVRC2012_devkit_t12.tar.gz"


class ImageNet(Source):
    """1,000 classes; `test` is val/, the 50,000 images that everyone reports on.

    Facts come from the folders, and from the published numbers where a folder is missing, so that
    a plan can be made without the data. Images are not verified when a split is opened.
    """

    def __init__(self, config: ImageNetConfig) -> None:
        self._root = config.root.expanduser()
        self.store = open_store(self._root)
        self.side_files = tuple(filter(Path.is_file, (self._root / _META, self._root / _DEVKIT)))
        folders = {name: self._root / folder for name, folder in _FOLDERS.items()}
        present = {name: folder for name, folder in folders.items() if self.store.is_dir(folder)}
        least = {"train": 2, "test": 1 if "train" in present else 2}
        files = {name: class_files(path, self.store, least[name]) for name, path in present.items()}
        # In the order of the ids, which torchvision and every pretrained model use too.
        ids = tuple(files.get("train", files.get("test", ())))
        self._splits = {
            name: list_classes(path, files[name], ids) for name, path in present.items()
        }
        if config.validation and "train" in self._splits:
            self._splits["train"], self._splits["validation"] = self._splits["train"].split(
                self._root, config.validation, config.split_seed, "validation"
            )
        # The published sizes, replaced by those of the folders that exist.
        sizes = dict(_SIZES)
        if config.validation:
            sizes["validation"] = round(sizes["train"] * config.validation)
            sizes["train"] -= sizes["validation"]
        sizes |= {name: len(self._splits[name]) for name in sizes if name in self._splits}
        super().__init__(
            facts_of(
                config,
                num_classes=len(ids) or _CLASSES,
                class_names=_named(self._root, ids),
                split_sizes=sizes,
                files=self.store.reads([*folders.values()]),
            )
        )

    def contents(self) -> Contents:
        """The classes alone: its images are known, and too many to search for equal ones."""
        labels = {name: listing.column() for name, listing in self._splits.items()}
        return Contents(self.store, {}, labels if "train" in labels else {})

    def _open(self, name: str, augmenter: Augmenter) -> FileImages:
        if name not in self._splits:
            folder = self._root / _FOLDERS.get(name, "train")
            raise DataError(
                f"{missing_folder(folder)} Expected train/ and val/, one folder for each WordNet "
                "id in both.\nGet ImageNet's archives from image-net.org and unpack them with "
                "torchvision.datasets.ImageNet, or set data.root to where they are."
            )
        listing = self._splits[name]
        return self.store.images(listing.paths, listing.column(), self.pixels, augmenter)


def _named(root: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Readable class names, if torchvision's meta.bin or the devkit is there, else the ids."""
    # The readers take seconds to import, and fail where neither file exists.
    if not ids or not any((root / name).is_file() for name in (_META, _DEVKIT)):
        return ids
    try:
        from torchvision.datasets.imagenet import load_meta_file, parse_devkit_archive

        with reading(root / _META):
            if not (root / _META).is_file():
                parse_devkit_archive(root)
            # torchvision annotates the names as one string; they are a tuple.
            words = cast("dict[str, tuple[str, ...]]", load_meta_file(root)[0])
    except Exception as error:  # the devkit's readers raise anything; names are for show only
        warnings.warn(
            f"{root}: class names cannot be read ({error}); WordNet ids are used",
            DataWarning,
            stacklevel=2,
        )
        return ids
    names = [", ".join(words.get(wordnet_id, (wordnet_id,))) for wordnet_id in ids]
    # Names need not be unique: "crane" is a bird and a machine.
    counts = Counter(names)
    pairs = zip(names, ids, strict=True)
    return tuple(f"{name} ({key})" if counts[name] > 1 else name for name, key in pairs)
