"""What all data sets share: facts, splits by name, augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Self

from torch import Tensor

from addkit.data.augment import Augmenter
from addkit.data.images import ImageFile, read_image
from addkit.data.pixels import Pixels
from addkit.errors import DataError
from addkit.plugin.protocols import DataFacts, ImageSet
from addkit.recipe.model import Augmentation

__all__ = ["Source"]


class Source(ABC):
    """A data set. Subclasses gather the facts and open splits; neither reads images before."""

    def __init__(self, facts: DataFacts, shorter_side: int | None = None) -> None:
        """`shorter_side`: its pixels before the centre crop; image_size if not given."""
        self.facts = facts
        self.pixels = Pixels(
            facts.image_size,
            facts.image_channels,
            facts.mean,
            facts.std,
            shorter_side or facts.image_size,
        )
        self._augmenter = Augmenter(Augmentation.model_validate({}), self.pixels)

    def augmented(self, augmentation: Augmentation) -> Self:
        """A copy whose `ImageSet.batch` applies this augmentation when it is given a seed.

        mixup and cutmix are not applied there but by `addkit.data.mixing.mix`. Raises
        `RecipeError` for a RandAugment string that timm refuses.
        """
        twin = copy(self)
        twin._augmenter = Augmenter(augmentation, self.pixels)
        return twin

    def split(self, name: str) -> ImageSet:
        """Open `train`, `validation` or `test`. Raises `DataError` for missing or broken files."""
        if name not in self.facts.split_sizes:
            raise DataError(
                f'There is no split "{name}"; there are: {", ".join(self.facts.split_sizes)}. '
                "A validation split needs data.validation above 0."
            )
        return self._open(name, self._augmenter)

    def prepare_image(self, path: ImageFile) -> Tensor:
        """One file (or open binary stream) as the test split would show it.

        Returns (channels, size, size), normalised. Raises `DataError` for anything but an image.
        """
        return self.pixels.prepared(read_image(path, self.facts.image_channels))

    @abstractmethod
    def _open(self, name: str, augmenter: Augmenter) -> ImageSet: ...
