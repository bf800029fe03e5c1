"""Side inputs of images, such as columns of a table: from cells as people write them to batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from addkit.data.image_sets import WrappedImages
from addkit.errors import DataError, guess
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import NO_CATEGORY, Batch, Column, SideInputs

_MOST_CATEGORIES = 12


def number_in(cell: str) -> float | None:
    """The finite number that a cell contains, with a decimal point; None for any other text."""
    try:
        # Python's underscores are no digits: 12_3 is a name, not 123.
        number = math.nan if "_" in cell else float(cell)
    except ValueError:
        return None
    # "nan" and "inf" are words that float() accepts.
    return number if math.isfinite(number) else None


def encoded(column: Column, cells: Sequence[str | None]) -> Tensor | tuple[str, ...]:
    """Cells of one column in the form of a batch; None and "" are missing. Raises `DataError` if a
    cell is no number, or none of the categories; guesses which.
    """
    if column.kind == "text":
        return tuple(cell or "" for cell in cells)
    if column.kind == "number":
        values = []
        for cell in cells:
            number = number_in(cell) if cell else math.nan
            if number is None:
                raise DataError(f'"{cell}" in column "{column.name}" is not a number, such as 1.5')
            # Standardised, so that a network reads metres and millimetres alike.
            values.append((number - column.mean) / column.std)
        return torch.tensor(values, dtype=torch.float32)  # (n,)
    ids = {category: number for number, category in enumerate(column.categories)}
    for cell in cells:
        if cell and cell not in ids:
            more = len(ids) - _MOST_CATEGORIES
            choices = ", ".join(column.categories[:_MOST_CATEGORIES])
            raise DataError(
                f'"{cell}" is no category of column "{column.name}"'
                f"{guess(cell, column.categories)}; known: {choices}"
                + (f" and {more} more" if more > 0 else "")
            )
    return torch.tensor([ids[cell] if cell else NO_CATEGORY for cell in cells])  # (n,) int64


def picked(side_inputs: SideInputs, indices: Sequence[int]) -> SideInputs:
    """These rows, in this order."""
    # Texts are tuples, which a tensor cannot index.
    chosen = torch.tensor(indices, dtype=torch.int64)
    return {
        name: value[chosen]
        if isinstance(value, Tensor)
        else tuple(value[index] for index in indices)
        for name, value in side_inputs.items()
    }


class SideInputsImages(WrappedImages):
    """An `ImageSet` whose batches include side inputs.

    Args:
        images: n images.
        side_inputs: n rows of each column.
    """

    def __init__(self, images: ImageSet, side_inputs: SideInputs) -> None:
        super().__init__(images)
        self.labels = images.labels
        self._side_inputs = side_inputs

    def over(self, images: ImageSet) -> SideInputsImages:
        """The same columns for another `ImageSet` of these images, such as their features."""
        return SideInputsImages(images, self._side_inputs)

    def completed(self, batch: Batch) -> Batch:
        """With the side inputs of the images."""
        return replace(batch, side_inputs=picked(self._side_inputs, batch.indices))
