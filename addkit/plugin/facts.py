"""What data sets hand over: facts, known before an image is read, and batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


SideInputs: TypeAlias = "Mapping[str, Tensor | tuple[str, ...]]"
"""What is known beside B images, by column. Numbers: float (B,), standardised, NaN where missing.
Categories: int64 (B,), -1 where missing. Texts: B strings, "" where missing."""


@dataclass(frozen=True, slots=True)
class Column:
    """An input beside the image, such as a column of the table that lists the images."""

    name: str
    kind: Literal["number", "category", "text"]
    categories: tuple[str, ...] = ()
    """What a category can be."""
    mean: float = 0.0
    """Of a number, over training images that have it: batches hold (number - mean) / std."""
    std: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What is known of a data set without reading an image."""

    num_classes: int
    class_names: tuple[str, ...]
    """May be empty where only the files tell the names."""
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
    """Of joint labels: what each token is called, N names; else empty."""
    token_classes: tuple[tuple[int, int], ...] = ()
    """Of joint labels: the classes [start, stop) that each token can take; else empty."""
    combinations: tuple[tuple[int, ...], ...] = ()
    """Of joint labels: the combinations that occur in training, where they are few; else empty."""
    pad: int | None = None
    """Of captions: the class that ends and fills a caption; class_names are the vocabulary."""
    unknown: int | None = None
    """Of captions: the class of words that the vocabulary lacks."""
    columns: tuple[Column, ...] = ()
    """What batches hold beside the images."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Counts that a person should hear of, such as captions cut and unknown words."""


NO_CATEGORY = -1
"""A category that is missing in a `SideInputs` column."""

MISSING = -1
"""The label of a token whose value nobody knows: no loss, and no score."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images, their labels and where they came from."""

    images: Tensor
    """(B, channels, size, size), float, normalised."""
    labels: Tensor
    """(B, N) class ids, `MISSING` where one is not known; of several right answers the first."""
    indices: tuple[int, ...]
    """Positions in the split; `ImageSet.source` names the file."""
    references: Tensor | None = None
    """(B, C, N): every right answer of each image, where there may be several."""
    reference_counts: Tensor | None = None
    """(B,): how many of an image's C rows count."""
    texts: tuple[tuple[str, ...], ...] | None = None
    """The references as text, whole: tokens joined by spaces, unknown words and all."""
    side_inputs: SideInputs | None = None
    """What is known beside the images: each of `DataFacts.columns`."""
