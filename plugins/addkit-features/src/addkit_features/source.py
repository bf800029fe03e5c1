"""Data whose images are features: computed on the first visit, read from the disk ever after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from addkit.data.loader import load
from addkit.diffusion import counted_seed
from addkit.errors import RecipeError
from addkit.plugin.facts import Batch, DataFacts
from addkit.plugin.protocols import DataSource, ImageSet
from addkit.recipe.tables import Augmentation
from addkit_features.files import alone, key_of, known, opened, write
from addkit_features.settings import FrozenFeaturesConfig

PROBED = 64
"""Images by which it is found out whether training changes them."""


class FeatureSource:
    """A `DataSource` around another one.

    Args:
        source: of the images.
        encoder: frozen, in evaluation mode.
        config: where files go, and of how many views.
        seed: of the views.
    """

    def __init__(
        self, source: DataSource, encoder: nn.Module, config: FrozenFeaturesConfig, seed: int
    ) -> None:
        self.facts: DataFacts = source.facts
        self._source, self._encoder = source, encoder
        self._config, self._seed = config, seed

    def augmented(self, augmentation: Augmentation) -> FeatureSource:
        """The same of other training images."""
        source = self._source.augmented(augmentation)
        return FeatureSource(source, self._encoder, self._config, self._seed)

    def split(self, name: str) -> ImageSet:
        """Features of a split; computes those that are not in the cache."""
        images = self._source.split(name)
        views: list[int | None] = [None]
        if name == "train":
            views += [counted_seed(self._seed, "view", v) for v in range(self._config.views)]
            self._refuse_endless(images)
        tables = [self._table(images, name, view) for view in views]
        features = FeatureImages(images, tables)
        # Captions and columns stand around the images, and now around their features.
        around = getattr(images, "over", None)
        return features if around is None else around(features)

    def _refuse_endless(self, images: ImageSet) -> None:
        places = list(range(min(PROBED, len(images))))
        plain, changed = images.batch(places, None).images, images.batch(places, 1).images
        if self._config.views == 0 and not torch.equal(plain, changed):
            raise RecipeError(
                "[augmentation] changes training images in every epoch, and features are computed "
                "once; set encoder.views to a number of fixed views, such as 4, or switch it off"
            )

    def _table(self, images: ImageSet, name: str, view: int | None) -> np.ndarray:
        key = key_of(self._encoder, images, self.facts, view, self._config.dtype)
        path = self._config.cache.expanduser() / f"{name}-{key}"
        with alone(path):
            if not known(path):
                write(path, self._computed(images, view), len(images), self._config.dtype)
            return opened(path)

    @torch.inference_mode()
    def _computed(self, images: ImageSet, view: int | None) -> Iterator[np.ndarray]:
        size, device = self._config.batch_size, _device(self._encoder)
        order = range(len(images))
        slices = [list(order[start : start + size]) for start in range(0, len(images), size)]
        for batch in load(images, slices, view, workers=0):
            yield self._encoder(batch.images.to(device)).float().cpu().numpy()


class FeatureImages:
    """An `ImageSet` that gives features as its images; no image is opened to train."""

    def __init__(self, images: ImageSet, tables: Sequence[np.ndarray]) -> None:
        """`tables`: features (n, L, W) of the images themselves, then of each view."""
        self.labels = images.labels
        self._images, self._tables = images, tables

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """As the images call it."""
        return self._images.source(index)

    def picture(self, index: int) -> Image:
        """As the images show it."""
        return self._images.picture(index)

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """Features (B, L, W) as images; with a seed each of a view, by (seed, index) alone."""
        rows = np.asarray(indices)
        if seed is None or len(self._tables) == 1:
            features = self._tables[0][rows]
        else:
            views = len(self._tables) - 1
            chosen = [1 + counted_seed(seed, "view", index) % views for index in indices]
            pairs = zip(chosen, indices, strict=True)
            features = np.stack([self._tables[view][index] for view, index in pairs])
        tokens = torch.from_numpy(np.ascontiguousarray(features)).float()
        return Batch(tokens, self.labels[torch.from_numpy(rows)], tuple(indices))


def _device(encoder: nn.Module) -> torch.device:
    found: Tensor | None = next(encoder.parameters(), None)
    return torch.device("cpu") if found is None else found.device
