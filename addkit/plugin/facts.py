"""Results of data sets: facts, which need no image to be read, and batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


SideInputs: TypeAlias = "Mapping[str, Tensor | tuple[str, ...]]"
"""Side inputs of B images by column. Numbers: float (B,), standardised, NaN where missing.
Categories: int64 (B,), -1 where missing. Texts: B strings, "" where missing."""


@dataclass(frozen=True, slots=True)
class Column:
    """A side input, such as a column of the table that lists the images."""

    name: str
    kind: Literal["number", "category", "text"]
    categories: tuple[str, ...] = ()
    """Values that a category can take."""
    mean: float = 0.0
    """A number's mean over training images that have it: batches contain (number - mean) / std."""
    std: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Facts of a data set that need no image to be read."""

    num_classes: int
    class_names: tuple[str, ...]
    """May be empty where the names are in the files alone."""
    image_size: int
    image_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    """Pixels of the shorter side before the centre crop to image_size."""
    split_sizes: Mapping[str, int]
    """Number of images in `train`, `test` and, where one is held out, `validation`."""
    files: tuple[Path, ...] = ()
    """Files and folders that will be read."""
    num_tokens: int = 1
    """N, labels of one image: 1 for classification, the longest caption, the attributes."""
    token_names: tuple[str, ...] = ()
    """Joint labels: the name of each of the N tokens; else empty."""
    token_classes: tuple[tuple[int, int], ...] = ()
    """Joint labels: the classes [start, stop) that each token can take; else empty."""
    combinations: tuple[tuple[int, ...], ...] = ()
    """Joint labels: the combinations that occur in training, where they are few; else empty."""
    pad: int | None = None
    """Captions: the class that ends and fills a caption; class_names are the vocabulary."""
    unknown: int | None = None
    """Captions: the class of words that the vocabulary lacks."""
    columns: tuple[Column, ...] = ()
    """Side inputs of its batches."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Counts to print before training, such as captions cut and unknown words."""


NO_CATEGORY = -1
"""A category that is missing in a `SideInputs` column."""

MISSING = -1
"""The label of a token whose value is unknown: no loss, and no score."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, their labels and where they came from."""

    images: Tensor
    """(B, channels, size, size), float, normalised."""
    labels: Tensor
    """(B, N) class ids, `MISSING` where unknown; the first where several are right."""
    indices: tuple[int, ...]
    """Positions in the split; `ImageSet.source` names the file."""
    references: Tensor | None = None
    """(B, C, N): every right answer of each image, where there may be several."""
    reference_counts: Tensor | None = None
    """(B,): how many of an image's C rows count."""
    texts: tuple[tuple[str, ...], ...] | None = None
    """The references as text, whole: tokens joined by spaces, unknown words and all."""
    side_inputs: SideInputs | None = None
    """One entry for each of `DataFacts.columns`."""
