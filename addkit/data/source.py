"""The base class of data sets: facts, splits by name, augmentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import Any, Self

from addkit.data.augmentation import Augmenter
from addkit.data.images import Pixels
from addkit.data.settings import DataConfig
from addkit.errors import DataError
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import ImageSet
from addkit.recipe.tables import Augmentation


class Source(ABC):
    """A data set. Subclasses collect the facts and open splits; no image is read before that."""

    def __init__(self, facts: DataFacts) -> None:
        self.facts = facts
        self.pixels = Pixels.of(facts)
        # All changes off, until `augmented` is called.
        self._augmenter = Augmenter(Augmentation.model_validate({}), self.pixels)

    def augmented(self, augmentation: Augmentation) -> Self:
        """A copy whose `ImageSet.batch` applies this augmentation when it is given a seed.

        mixup and cutmix mix whole batches (`addkit.data.augmentation.mix`) and are not applied
        there. Raises `RecipeError` for a RandAugment string that timm refuses.
        """
        twin = copy(self)  # shallow: facts, listings and what was verified are shared
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

    @abstractmethod
    def _open(self, name: str, augmenter: Augmenter) -> ImageSet: ...


def facts_of(config: DataConfig, **facts: Any) -> DataFacts:
    """Facts of a data set: size and scale of the pixels by its settings, the rest as given."""
    return DataFacts(
        image_size=config.image_size,
        image_channels=config.image_channels,
        mean=config.mean,
        std=config.std,
        shorter_side=config.shorter_side,
        **facts,
    )
