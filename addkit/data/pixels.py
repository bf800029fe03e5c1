"""From an 8-bit image to the encoder's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from addkit.plugin.protocols import DataFacts

__all__ = ["Pixels", "cut", "to_levels", "to_pixels"]


@dataclass(frozen=True, slots=True)
class Pixels:
    """Size and scale of the encoder's input."""

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int
    """What the shorter side becomes before the centre crop; image_size or more."""

    @classmethod
    def of(cls, facts: DataFacts) -> Pixels:
        """Those of a data set."""
        return cls(
            facts.image_size, facts.image_channels, facts.mean, facts.std, facts.shorter_side
        )

    def fit(self, image: Image.Image) -> Image.Image:
        """Resize and centre crop to a square of image_size, in one resampling."""
        side = min(image.size) * self.image_size / self.shorter_side
        return cut(
            image, (image.height - side) / 2, (image.width - side) / 2, side, side, self.image_size
        )

    def normalise(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) in [0, 1] -> (pixel - mean) / std."""
        mean = torch.tensor(self.mean)[:, None, None]
        std = torch.tensor(self.std)[:, None, None]
        return (images - mean) / std

    def prepared(self, image: Image.Image) -> Tensor:
        """One image as the test split shows it, (channels, size, size)."""
        return self.normalise(to_pixels(self.fit(image)))


def cut(
    image: Image.Image, top: float, left: float, height: float, width: float, size: int
) -> Image.Image:
    """The box of the image, given in pixels, resampled (bicubic, antialiased) to size x size."""
    box = (left, top, left + width, top + height)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def to_pixels(image: Image.Image) -> Tensor:
    """Mode L or RGB -> float (channels, height, width) in [0, 1]."""
    return to_levels(image).float() / 255


def to_levels(image: Image.Image) -> Tensor:
    """Mode L or RGB -> uint8 (channels, height, width)."""
    values = torch.from_numpy(np.array(image))
    return values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous()
