"""A split whose images lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.data.augment import Augmenter
from addkit.data.folders import Listing
from addkit.data.images import read_image
from addkit.data.pixels import Pixels, to_pixels
from addkit.plugin.protocols import Batch

__all__ = ["FileImages"]


class FileImages:
    """An `ImageSet` that reads each image when a batch asks for it."""

    def __init__(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> None:
        """`labels` (n, N) belong to the n paths, in their order."""
        self.labels = labels
        self._paths = paths
        self._pixels = pixels
        self._augmenter = augmenter

    @classmethod
    def listed(cls, listing: Listing, pixels: Pixels, augmenter: Augmenter) -> Self:
        """Of files that have one class each."""
        labels = torch.tensor(listing.labels, dtype=torch.int64)[:, None]
        return cls(listing.paths, labels, pixels, augmenter)

    def __len__(self) -> int:
        return len(self._paths)

    def source(self, index: int) -> str:
        """The file's path."""
        return self._paths[index]

    def picture(self, index: int) -> Image:
        """The whole image, upright, RGB or grey. Raises `DataError` if it cannot be read."""
        return read_image(Path(self._paths[index]), self._pixels.channels)

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone.

        Raises `DataError` that names the file if one cannot be read.
        """
        if seed is None:
            images = torch.stack([self._plain(index) for index in indices])
        else:
            images = self._changed(seed, indices)
        return Batch(images, self.labels[torch.tensor(indices)], tuple(indices))

    def _plain(self, index: int) -> Tensor:
        return self._pixels.prepared(self.picture(index))

    def _changed(self, seed: int, indices: Sequence[int]) -> Tensor:
        draws = self._augmenter.draws(seed, indices)
        images = [
            self._cut(index, seed, draws[:, place : place + 1])
            for place, index in enumerate(indices)
        ]
        return self._augmenter.finish(torch.stack(images), draws)

    def _cut(self, index: int, seed: int, draws: Tensor) -> Tensor:
        image = self._augmenter.cut_file(self.picture(index), draws)
        return to_pixels(self._augmenter.recolour_file(image, seed, index))
