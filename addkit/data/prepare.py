"""A user's own image as the encoder's input."""

from __future__ import annotations

from torch import Tensor

from addkit.data.images import ImageFile, read_image
from addkit.data.pixels import Pixels
from addkit.plugin.facts import DataFacts


def prepare_image(file: ImageFile, facts: DataFacts) -> Tensor:
    """One file (or open binary stream) as a data set's test split would show it.

    Returns (channels, size, size), normalised. Raises `DataError` for anything but an image.
    """
    return Pixels.of(facts).prepared(read_image(file, facts.image_channels))
