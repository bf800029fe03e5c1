"""A split whose images lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.data.augment import Augmenter
from addkit.data.folders import Listing
from addkit.data.images import ImageFile, read_image, read_part
from addkit.data.pixels import Pixels, resampled, to_levels
from addkit.plugin.facts import Batch


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
        return read_image(self._file(index), self._pixels.channels, self.source(index))

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone.

        Raises `DataError` that names the file if one cannot be read.
        """
        levels = torch.empty(len(indices), *self.level_shape, dtype=torch.uint8)
        self.levels(indices, seed, levels)
        return self.finished(levels, indices, seed, torch.empty(levels.shape))

    @property
    def level_shape(self) -> tuple[int, int, int]:
        """(C, S, S)."""
        size = self._pixels.image_size
        return self._pixels.channels, size, size

    def levels(self, indices: Sequence[int], seed: int | None, out: Tensor) -> None:
        """Read these images into `out`, uint8 (B, C, S, S): all of `batch` that costs time."""
        if seed is None:
            for place, index in enumerate(indices):
                out[place] = self._whole(index)
            return
        draws = self._augmenter.draws(seed, indices)
        for place, index in enumerate(indices):
            out[place] = self._changed(index, seed, draws[:, place])

    def finished(
        self, levels: Tensor, indices: Sequence[int], seed: int | None, out: Tensor
    ) -> Batch:
        """The batch of what `levels` read, its images in `out`, float (B, C, S, S)."""
        images = self._pixels.scaled(levels, out)
        if seed is not None:
            images = self._augmenter.erased(images, self._augmenter.draws(seed, indices))
        return Batch(images, self.labels[torch.tensor(indices)], tuple(indices))

    def _file(self, index: int) -> ImageFile:
        """Where its bytes are; subclasses may have them elsewhere."""
        return Path(self._paths[index])

    def _whole(self, index: int) -> Tensor:
        return to_levels(self._pixels.fit(self.picture(index)))

    def _changed(self, index: int, seed: int, draws: Tensor) -> Tensor:
        levels = self._crop(index, draws) if self._augmenter.crops else self._whole(index)
        levels = self._augmenter.recolour_levels(levels, seed, index)
        return self._augmenter.moved(levels[None], draws[:, None])[0]

    def _crop(self, index: int, draws: Tensor) -> Tensor:
        choose = partial(self._augmenter.part, draws)
        file, name = self._file(index), self.source(index)
        part = read_part(file, self._pixels.channels, choose, name)
        return resampled(part, self._pixels.image_size)
