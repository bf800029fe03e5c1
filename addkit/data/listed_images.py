"""Image files that a list names one by one, such as the rows of a table."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.folders import ImageStore, Listing
from addkit.data.image_sets import FileImages
from addkit.data.settings import DataWarning
from addkit.data.source import Source, hold_out_combinations
from addkit.errors import DataError
from addkit.plugin.values import DataFacts


class ListedImage(Protocol):
    """An image as its list names it."""

    @property
    def name(self) -> str:
        """Its file, relative to the folder of the images."""
        ...

    @property
    def location(self) -> str:
        """Such as `photos.csv:12`, for messages."""
        ...

    @property
    def parts(self) -> frozenset[str]:
        """Values that must stay in train if this image is held out."""
        ...


T = TypeVar("T", bound=ListedImage)


class ListedImages(Source, Generic[T]):
    """Opens the splits of listed images; opening one verifies its files once.

    `facts.split_sizes` counts listed images: a split that skips bad files is shorter.

    Args:
        facts: of the data set.
        store: reads the images.
        root: the folder of the images.
        listed_in: the list, for messages.
        splits: split -> images.
        bad_files: `skip` leaves out missing and unreadable files.
    """

    def __init__(
        self,
        facts: DataFacts,
        store: ImageStore,
        root: Path,
        listed_in: Path,
        splits: Mapping[str, Sequence[T]],
        bad_files: Literal["stop", "skip"],
    ) -> None:
        super().__init__(facts)
        self.store, self.root, self.listed_in, self.listed = store, root, listed_in, splits
        self._skip = bad_files == "skip"
        self._verified: dict[str, Sequence[T]] = {}

    @abstractmethod
    def labels(self, images: Sequence[T]) -> Tensor:
        """Class ids (n, N)."""

    @abstractmethod
    def check_train(self, images: Sequence[T]) -> None:
        """Raise `DataError` if these, the readable training images, lack a class."""

    def path(self, image: T) -> str:
        """The image's file."""
        return str(self.root / image.name)

    def _open(self, name: str, augmenter: Augmenter) -> FileImages:
        if name not in self._verified:
            self._verified[name] = self._readable(name)
        images = self._verified[name]
        # After the check, since a skipped image has no labels.
        labels = self.labels(images)
        return self.store.images([*map(self.path, images)], labels, self.pixels, augmenter)

    def _readable(self, name: str) -> Sequence[T]:
        # Only with bad_files = "skip" is anything missing here; else building has raised.
        absent = set(self.store.missing([*map(self.path, self.listed[name])]))
        images = []
        for image in self.listed[name]:
            if self.path(image) in absent:
                text = f"left out {image.location}: {self.path(image)} is no file"
                warnings.warn(text, DataWarning, stacklevel=2)
            else:
                images.append(image)

        def listing(images: Sequence[T]) -> Listing:
            # Labels are positions, to find the readable images again.
            return Listing(tuple(map(self.path, images)), tuple(range(len(images))))

        # Without `skip` the broken files of every split are reported at once.
        others = [listing(part) for split, part in self.listed.items() if split != name]
        sound = self.store.sound(listing(images), self.listed_in, self._skip, others)
        images = [images[position] for position in sound.labels]
        if name == "train":
            self.check_train(images)
        return images


def hold_out_listed(
    listed_in: Path, splits: Mapping[str, Sequence[T]], purpose: str, share: float, seed: int
) -> Mapping[str, Sequence[T]]:
    """The splits with a share of train held out as `purpose`; each part stays in train.

    Raises `DataError` if no image can go.
    """
    images = splits["train"]
    parts, names = [image.parts for image in images], [image.name for image in images]
    kept, held = hold_out_combinations(parts, names, share, seed)
    if not held:
        raise DataError(
            f"{listed_in}: none of {len(images)} images can be held out for {purpose} "
            f"(share {share}): an image stays if it is the last with one of its values.\n"
            "Add images, or write the splits into a column (data.split_column)."
        )
    return {**splits, "train": [images[p] for p in kept], purpose: [images[p] for p in held]}
