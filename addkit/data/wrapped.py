"""Images to whose batches something is added."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from PIL.Image import Image
from torch import Tensor

from addkit.data.loading import LevelImages
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet


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

    def picture(self, index: int) -> Image:
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
