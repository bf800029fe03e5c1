"""A split that fits in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from addkit.data.augment import Augmenter
from addkit.data.pixels import Pixels
from addkit.plugin.facts import Batch


@dataclass(frozen=True, slots=True)
class Bitmaps:
    """Small images as they were stored."""

    values: Tensor
    """(n, channels, height, width), uint8, from 0 to `peak`."""
    peak: int
    """The value of white."""
    labels: Tensor
    """(n, N) class ids."""
    names: tuple[str, ...]
    """What to call each image."""

    def at(self, positions: Sequence[int]) -> Bitmaps:
        """These images, in this order."""
        chosen = torch.tensor(positions, dtype=torch.int64)
        names = tuple(self.names[position] for position in positions)
        return Bitmaps(self.values[chosen], self.peak, self.labels[chosen], names)


class MemoryImages:
    """An `ImageSet` over bitmaps; a batch is made at once, each image as if it were alone."""

    def __init__(self, bitmaps: Bitmaps, pixels: Pixels, augmenter: Augmenter) -> None:
        self.labels = bitmaps.labels
        self._bitmaps = bitmaps
        self._pixels = pixels
        self._augmenter = augmenter

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """Such as `digits, image 12`."""
        return self._bitmaps.names[index]

    def picture(self, index: int) -> Image.Image:
        """The image as it was stored, RGB or grey."""
        levels = self._bitmaps.values[index].float() * (255 / self._bitmaps.peak)
        planes = levels.round().byte().numpy()
        return Image.fromarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0))

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone."""
        chosen = torch.tensor(indices)
        images = self._sized(self._bitmaps.values[chosen].float() / self._bitmaps.peak)
        if seed is None:
            images = self._pixels.normalise(images)
        else:
            images = self._changed(images, seed, indices)
        return Batch(images, self.labels[chosen], tuple(indices))

    def _changed(self, images: Tensor, seed: int, indices: Sequence[int]) -> Tensor:
        draws = self._augmenter.draws(seed, indices)
        images = self._augmenter.cut_batch(images, draws)
        images = self._augmenter.recolour_batch(images, seed, indices)
        images = self._pixels.normalise(self._augmenter.moved(images, draws))
        return self._augmenter.erased(images, draws)

    def _sized(self, images: Tensor) -> Tensor:
        size = self._pixels.image_size
        if images.shape[2:] == (size, size):
            return images
        return interpolate(images, (size, size), mode="bilinear", antialias=True)
