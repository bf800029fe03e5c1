"""Data whose images are features: computed once, then read from the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from addkit.data.loader import load
from addkit.diffusion import counted_seed
from addkit.errors import RecipeError
from addkit.plugin.protocols import DataSource, ImageSet
from addkit.plugin.values import Batch, DataFacts
from addkit.recipe.tables import Augmentation
from addkit_features.files import is_complete, key_of, lock, open_features, write
from addkit_features.settings import FrozenFeaturesConfig

PROBED = 64
"""Number of images that are compared with and without augmentation."""


class FeatureSource:
    """A `DataSource` around another one.

    Args:
        source: the data set of the images.
        encoder: the network that computes features, frozen and in evaluation mode.
        config: folder, number of views and type of the features.
        seed: random seed of the views.
    """

    def __init__(
        self, source: DataSource, encoder: nn.Module, config: FrozenFeaturesConfig, seed: int
    ) -> None:
        self.facts: DataFacts = source.facts
        self._source, self._encoder = source, encoder
        self._config, self._seed = config, seed

    def augmented(self, augmentation: Augmentation) -> FeatureSource:
        """Features of the images under another augmentation."""
        source = self._source.augmented(augmentation)
        return FeatureSource(source, self._encoder, self._config, self._seed)

    def split(self, name: str) -> ImageSet:
        """Open the features of a split; those that are not in the cache are computed."""
        images = self._source.split(name)
        views: list[int | None] = [None]
        if name == "train":
            views += [counted_seed(self._seed, "view", v) for v in range(self._config.views)]
            self._refuse_endless(images)
        tables = [self._table(images, name, view) for view in views]
        features = FeatureImages(images, tables)
        # Captions and side inputs wrap images; the same wrapper is put on the features.
        wrap = getattr(images, "over", None)
        return features if wrap is None else wrap(features)

    def _refuse_endless(self, images: ImageSet) -> None:
        indices = list(range(min(PROBED, len(images))))
        plain, changed = images.batch(indices, None).images, images.batch(indices, 1).images
        if self._config.views == 0 and not torch.equal(plain, changed):
            raise RecipeError(
                "[augmentation] changes training images in every epoch, and features are computed "
                "once; set encoder.views to a number of fixed views, such as 4, or switch it off"
            )

    def _table(self, images: ImageSet, name: str, view: int | None) -> np.ndarray:
        key = key_of(self._encoder, images, self.facts, view, self._config.dtype)
        path = self._config.cache.expanduser() / f"{name}-{key}"
        # Locked: each process of a distributed training opens the same splits.
        with lock(path):
            if not is_complete(path):
                write(path, self._computed(images, view), len(images), self._config.dtype)
            return open_features(path)

    @torch.inference_mode()
    def _computed(self, images: ImageSet, view: int | None) -> Iterator[np.ndarray]:
        size = self._config.batch_size
        weight = next(self._encoder.parameters(), None)
        device = torch.device("cpu") if weight is None else weight.device
        order = range(len(images))
        slices = [list(order[start : start + size]) for start in range(0, len(images), size)]
        for batch in load(images, slices, view, workers=0):
            yield self._encoder(batch.images.to(device)).float().cpu().numpy()  # (B, L, W)


class FeatureImages:
    """An `ImageSet` with features in place of images, so that training opens no image."""

    def __init__(self, images: ImageSet, tables: Sequence[np.ndarray]) -> None:
        """`tables`: features (n, L, W) of the images themselves, then of each view."""
        self.labels = images.labels
        self._images, self._tables = images, tables

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """Name of the image, such as its file."""
        return self._images.source(index)

    def picture(self, index: int) -> Image:
        """The image itself, for people."""
        return self._images.picture(index)

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """Features (B, L, W) as images; with a seed each of a view, by (seed, index) alone."""
        rows = np.asarray(indices)  # (B,)
        if seed is None or len(self._tables) == 1:
            features = self._tables[0][rows]
        else:
            views = len(self._tables) - 1
            # Table 0 has no augmentation, so that views are counted from 1.
            chosen = [1 + counted_seed(seed, "view", index) % views for index in indices]
            pairs = zip(chosen, indices, strict=True)
            features = np.stack([self._tables[view][index] for view, index in pairs])
        tokens = torch.from_numpy(np.ascontiguousarray(features)).float()
        return Batch(tokens, self.labels[torch.from_numpy(rows)], tuple(indices))
