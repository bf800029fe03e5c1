"""Tags of images as tokens: each is a label of its own, "no" or "yes"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from addkit.data.folders import ImageStore, shortened
from addkit.data.listed_images import ListedImages
from addkit.data.overview import Contents
from addkit.data.settings import DataConfig, OwnTagsConfig
from addkit.data.source import facts_of
from addkit.errors import DataError, guess
from addkit.plugin.values import TAG_CLASSES, DataFacts

_MOST_COMBINATIONS = 2**18
"""Labels of all training combinations that the facts of a data set list; of more, none."""


@dataclass(frozen=True, slots=True)
class TaggedImage:
    """One image and its tags."""

    name: str
    location: str
    """Where it was tagged, such as `photos.csv:12`, for messages."""
    tags: frozenset[str]

    @property
    def parts(self) -> frozenset[str]:
        """The tags: each stays in train if this image is held out."""
        return self.tags


def choose_tags(
    listed_in: Path, train: Sequence[TaggedImage], tags: Sequence[str], least_images: int
) -> tuple[str, ...]:
    """The tags to predict: those given, or all of train that enough images have, the most frequent
    ones first, in which order autoregression writes them.

    Raises `DataError` for a given tag that no training image has, and if there is none at all.

    Args:
        listed_in: the list, for messages.
        train: the training images.
        tags: the tags that the user names; empty for all.
        least_images: training images of a tag that is predicted.
    """
    counts = Counter(tag for image in train for tag in image.tags)
    if absent := [f'"{tag}"{guess(tag, counts)}' for tag in tags if tag not in counts]:
        raise DataError(
            f"{listed_in}: tags of data.tags that no training image has: {', '.join(absent)}.\n"
            "Correct them, or leave them out."
        )
    frequent = sorted(counts, key=lambda tag: (-counts[tag], tag))
    wanted = tuple(tags) or tuple(tag for tag in frequent if counts[tag] >= least_images)
    if not wanted:
        some = f"; the most frequent has {max(counts.values())} of them" if counts else ""
        raise DataError(
            f"{listed_in}: no tag has {least_images} training images{some}.\n"
            "Add images or tags, or lower data.least_images."
        )
    return wanted


def refuse_unseen(
    listed_in: Path, splits: Mapping[str, Sequence[TaggedImage]], chosen: Sequence[str]
) -> None:
    """Raise `DataError` for tags that only validation or test images have, unless tags were chosen.

    A tag that no training image has is more often a typing error than a rare tag.
    """
    seen = {tag for image in splits["train"] for tag in image.tags}
    unseen = [
        f'{image.location}: "{tag}"{guess(tag, seen)}'
        for images in splits.values()
        for image in images
        for tag in sorted(image.tags - seen)
    ]
    if unseen and not chosen:
        raise DataError(
            f"{listed_in}: tags that no training image has:\n  {shortened(unseen)}\n"
            "Correct them, or name the tags to predict in data.tags."
        )


def tag_labels(tags: Sequence[str], images: Iterable[TaggedImage]) -> Tensor:
    """(n, N) int64: 1 where the image has the tag; tags that are not predicted are left out."""
    column = {tag: n for n, tag in enumerate(tags)}
    rows = [[column[tag] for tag in image.tags if tag in column] for image in images]
    labels = torch.zeros(len(rows), len(tags), dtype=torch.int64)
    for row, present in enumerate(rows):
        labels[row, present] = 1
    return labels


def tag_facts(
    config: DataConfig,
    tags: Sequence[str],
    splits: Mapping[str, Sequence[TaggedImage]],
    files: tuple[Path, ...],
) -> DataFacts:
    """Facts of a data set whose N tokens are tags that share the classes `TAG_CLASSES`."""
    labels = tag_labels(tags, splits["train"])
    seen = torch.unique(labels, dim=0)
    few = seen.numel() <= _MOST_COMBINATIONS
    return facts_of(
        config,
        num_classes=len(TAG_CLASSES),
        class_names=TAG_CLASSES,
        split_sizes={name: len(images) for name, images in splits.items()},
        files=files,
        num_tokens=len(tags),
        token_names=tuple(tags),
        token_classes=((0, len(TAG_CLASSES)),) * len(tags),
        combinations=tuple(map(tuple, seen.tolist())) if few else (),
        tag_shares=tuple(labels.double().mean(0).tolist()),
    )


class TaggedImages(ListedImages[TaggedImage]):
    """A user's own images with their tags.

    Args:
        config: with the tags to predict.
        store: reads the images.
        root: the folder of the images.
        listed_in: the list, for messages.
        splits: split -> images.
        files: that are read.
    """

    def __init__(
        self,
        config: OwnTagsConfig,
        store: ImageStore,
        root: Path,
        listed_in: Path,
        splits: Mapping[str, Sequence[TaggedImage]],
        files: tuple[Path, ...],
    ) -> None:
        self._tags = choose_tags(listed_in, splits["train"], config.tags, config.least_images)
        refuse_unseen(listed_in, splits, config.tags)
        facts = tag_facts(config, self._tags, splits, files)
        super().__init__(facts, store, root, listed_in, splits, config.bad_files)

    def contents(self) -> Contents:
        """The listed images, unread."""
        paths = {name: [*map(self.path, images)] for name, images in self.listed.items()}
        labels = {name: self.labels(images) for name, images in self.listed.items()}
        return Contents(self.store, paths, labels, tuple(self.doubts()))

    def doubts(self) -> Iterable[str]:
        """What is probably wrong with the tags: those that all training images have, or none."""
        shares = zip(self._tags, self.facts.tag_shares, strict=True)
        if always := [f'"{tag}"' for tag, share in shares if share == 1]:
            yield (
                f"{self.listed_in}: every training image has the tag {', '.join(always)}: there is "
                "nothing to distinguish"
            )

    def labels(self, images: Sequence[TaggedImage]) -> Tensor:
        """1 where the image has the tag, (n, N)."""
        return tag_labels(self._tags, images)

    def check_train(self, images: Sequence[TaggedImage]) -> None:
        """Raise `DataError` if a tag has no readable training image."""
        left = {tag for image in images for tag in image.tags}
        if gone := [f'"{tag}"' for tag in self._tags if tag not in left]:
            raise DataError(
                f"{self.listed_in}: no readable training image with the tag {', '.join(gone)}.\n"
                "Add images, or remove the tag."
            )
