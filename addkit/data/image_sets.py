"""Splits of data sets (`ImageSet`): images in memory, images in files, and wrappers around both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from addkit.data.augmentation import Augmenter
from addkit.data.images import (
    ImageFile,
    Pixels,
    as_picture,
    read_image,
    read_part,
    to_levels,
)
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import Batch


class LevelImages(ImageSet, Protocol):
    """An `ImageSet` whose `batch` has two steps: read 8-bit levels, then make floats of them.

    A loader's processes do the first, so that a quarter of the bytes passes between processes.
    """

    @property
    def level_shape(self) -> tuple[int, int, int]:
        """(C, S, S) of every image."""
        ...

    def levels(self, indices: Sequence[int], seed: int | None, out: Tensor) -> None:
        """Read these images into `out`, uint8 (B, C, S, S)."""
        ...

    def finished(
        self, levels: Tensor, indices: Sequence[int], seed: int | None, out: Tensor
    ) -> Batch:
        """The batch of these levels, its images written to `out`, float (B, C, S, S)."""
        ...


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
    """Name of each image, for messages."""

    def at(self, positions: Sequence[int]) -> Bitmaps:
        """These images, in this order."""
        # int64 also for no positions: an empty list would become floats.
        chosen = torch.tensor(positions, dtype=torch.int64)
        names = tuple(self.names[position] for position in positions)
        return Bitmaps(self.values[chosen], self.peak, self.labels[chosen], names)


class MemoryImages:
    """An `ImageSet` of bitmaps. A whole batch is computed at once; images do not interact."""

    def __init__(self, bitmaps: Bitmaps, pixels: Pixels, augmenter: Augmenter) -> None:
        self.labels = bitmaps.labels
        self._bitmaps = bitmaps
        self._size = (pixels.image_size, pixels.image_size)
        self._mode = pixels.interpolation
        self._mean = torch.tensor(pixels.mean)[:, None, None]  # (C, 1, 1)
        self._std = torch.tensor(pixels.std)[:, None, None]
        self._augmenter = augmenter

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """Such as `digits, image 12`."""
        return self._bitmaps.names[index]

    def picture(self, index: int) -> Image.Image:
        """The image as it was stored, RGB or grey."""
        # From 0..peak to 0..255; digits have 17 levels.
        levels = self._bitmaps.values[index].float() * (255 / self._bitmaps.peak)
        return as_picture(levels.round().byte())

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone."""
        chosen = torch.tensor(indices)
        # Resized before augmentation: crops and shifts are then in pixels of the input.
        images = self._bitmaps.values[chosen].float() / self._bitmaps.peak  # (B, C, h, w)
        if images.shape[2:] != self._size:
            # As Pillow resizes a user's picture: width, then height, and clipped after each,
            # since bicubic weights leave [0, 1] at edges.
            height, width = self._size
            for size in ((images.shape[2], width), (height, width)):
                images = interpolate(images, size, mode=self._mode, antialias=True).clamp(0, 1)
        augmenter = self._augmenter
        if seed is not None:
            draws = augmenter.draws(seed, indices)  # (12, B)
            images = augmenter.cut_batch(images, draws)
            images = augmenter.recolour_batch(images, seed, indices)
            images = augmenter.moved(images, draws)
        images = (images - self._mean) / self._std  # (B, C, S, S)
        if seed is not None:
            # Erased after normalising, so that rectangles are the mean colour, 0.
            images = augmenter.erased(images, draws)
        return Batch(images, self.labels[chosen], tuple(indices))


class FileImages:
    """`LevelImages` that read an image file when a batch needs it.

    Args:
        paths: of n files.
        labels: (n, N), in the order of the paths.
        pixels: size and scale.
        augmenter: of training images.
    """

    def __init__(
        self, paths: Sequence[str], labels: Tensor, pixels: Pixels, augmenter: Augmenter
    ) -> None:
        self.labels = labels
        self._paths = paths
        self._pixels = pixels
        self._augmenter = augmenter

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def shards(self) -> Tensor | None:
        """(n, 2) int64: each image's shard and position there; None for images in no shards."""
        return None

    def source(self, index: int) -> str:
        """The file's path."""
        return self._paths[index]

    def picture(self, index: int) -> Image.Image:
        """The whole image, upright, RGB or grey. Raises `DataError` if it cannot be read."""
        return read_image(self._file(index), self._pixels.channels, self.source(index))

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; with a seed they are augmented, each by (seed, index) alone.

        Raises `DataError` that names the file if one cannot be read.
        """
        # The two steps of a loader, in one process.
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
            for row, index in enumerate(indices):
                out[row] = self._whole(index)
            return
        augmenter, pixels = self._augmenter, self._pixels
        draws = augmenter.draws(seed, indices)  # (12, B)
        for row, index in enumerate(indices):
            if augmenter.crops:
                # The box comes before decoding, so that a JPEG can be decoded at a smaller scale.
                choose = partial(augmenter.part, draws[:, row])
                part = read_part(self._file(index), pixels.channels, choose, self.source(index))
                levels = pixels.resampled(part)  # (C, S, S)
            else:
                levels = self._whole(index)
            levels = augmenter.recolour_levels(levels, seed, index)
            out[row] = augmenter.moved(levels[None], draws[:, row : row + 1])[0]

    def finished(
        self, levels: Tensor, indices: Sequence[int], seed: int | None, out: Tensor
    ) -> Batch:
        """The batch of these levels, its images written to `out`, float (B, C, S, S)."""
        images = self._pixels.scaled(levels, out)
        if seed is not None:
            # Drawn again rather than sent along: the same uniforms follow from (seed, index).
            images = self._augmenter.erased(images, self._augmenter.draws(seed, indices))
        return Batch(images, self.labels[torch.tensor(indices)], tuple(indices))

    def _file(self, index: int) -> ImageFile:
        """The file or stream with the image's bytes; subclasses may have them elsewhere."""
        return Path(self._paths[index])

    def _whole(self, index: int) -> Tensor:
        return to_levels(self._pixels.to_square(self.picture(index)))  # (C, S, S)


class WrappedImages(ABC):
    """Adds something to each batch of another `ImageSet`; `LevelImages` if that is.

    Args:
        images: n images.
    """

    labels: Tensor

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    @abstractmethod
    def completed(self, batch: Batch) -> Batch:
        """A batch of the wrapped images with the addition."""

    def source(self, index: int) -> str:
        """As the wrapped images name it."""
        return self._images.source(index)

    def picture(self, index: int) -> Image.Image:
        """The wrapped images' picture."""
        return self._images.picture(index)

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images with the addition; see `ImageSet.batch`."""
        return self.completed(self._images.batch(indices, seed))

    @property
    def level_shape(self) -> tuple[int, int, int]:
        """(C, S, S); AttributeError where the wrapped images are no `LevelImages`."""
        return cast("LevelImages", self._images).level_shape

    def levels(self, indices: Sequence[int], seed: int | None, out: Tensor) -> None:
        """See `LevelImages`."""
        cast("LevelImages", self._images).levels(indices, seed, out)

    def finished(
        self, levels: Tensor, indices: Sequence[int], seed: int | None, out: Tensor
    ) -> Batch:
        """See `LevelImages`."""
        images = cast("LevelImages", self._images)
        return self.completed(images.finished(levels, indices, seed, out))
