"""Images to whose batches something is added."""

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
from addkit.data.images import ImageFile, Pixels, read_image, read_part, resampled, to_levels
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet


class LevelImages(ImageSet, Protocol):
    """An `ImageSet` whose `batch` is two steps: reading 8-bit levels, and making floats of them.

    A loader's processes do the first, and a quarter of the bytes passes between processes.
    """

    @property
    def level_shape(self) -> tuple[int, int, int]:
        """(C, S, S) of every image."""

    def levels(self, indices: Sequence[int], seed: int | None, out: Tensor) -> None:
        """Read these images into `out`, uint8 (B, C, S, S)."""

    def finished(
        self, levels: Tensor, indices: Sequence[int], seed: int | None, out: Tensor
    ) -> Batch:
        """The batch of what `levels` read, its images in `out`, float (B, C, S, S)."""


class WrappedImages(ABC):
    """An `ImageSet`, and `LevelImages` where the images are, that changes each batch of them.

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
        """A batch of the images with what is added."""

    def source(self, index: int) -> str:
        """As the images call it."""
        return self._images.source(index)

    def picture(self, index: int) -> Image.Image:
        """As the images show it."""
        return self._images.picture(index)

    @property
    def level_shape(self) -> tuple[int, int, int]:
        """As the images have it; AttributeError where they have none."""
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

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images with what is added; see `ImageSet.batch`."""
        return self.completed(self._images.batch(indices, seed))


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

    def __len__(self) -> int:
        return len(self._paths)

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
