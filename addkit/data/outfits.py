r"""Outfits: four noisy pieces of clothing, of which few combinations are allowed.

A piece is a Fashion-MNIST image averaged to 7 x 7 pixels. Its pixels p in [0, 1] and the noise
make the picture's grey level

.. math:: g = \tfrac12 + \frac{z}{8\sqrt{1 + \sigma^2}}, \quad
    z = \frac{p - \mu}{s} + \sigma\,\epsilon, \quad \epsilon \sim \mathcal N(0, 1)

clipped to [0, 1] (beyond four deviations) and rounded to 8 bits, so that an outfit can be saved as
a picture and read again. mu and s are the mean and the deviation of Fashion-MNIST's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from addkit.data.augmentation import Augmenter
from addkit.data.fashion_mnist import FashionMNIST
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.images import Pixels
from addkit.data.settings import FashionMNISTConfig, OutfitsConfig
from addkit.data.source import Source
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import DataError, RecipeError
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import Batch
from addkit.recipe.tables import Augmentation

_PLACES = ("top left", "top right", "bottom left", "bottom right")
_SIDE, _POOLED, _WHITE = 7, 4, 255
_DRAWS = len(_PLACES) * (1 + _SIDE**2)
_LEAST = 2.0**-54
"""Below every positive uniform: a uniform of 0 becomes this, since its normal must be finite."""
_AT_A_TIME = 4096


def allowed_combinations(count: int, num_classes: int, seed: int) -> Tensor:
    """`count` of the num_classes^4 combinations of classes, in order, (count, 4) int64.

    Which ones follows from the seed alone; a larger count adds to a smaller one.
    """
    # Ranks by counted uniforms: taking more of them keeps those that were taken before.
    everything = torch.arange(num_classes ** len(_PLACES))
    keys = uniforms(counted_seed(seed, "outfits"), everything, 1)[:, 0]
    chosen = keys.argsort(stable=True)[:count].sort().values
    # Digits of the combination's number in base num_classes.
    powers = num_classes ** torch.arange(len(_PLACES) - 1, -1, -1)
    return chosen[:, None] // powers % num_classes


class Outfits(Source):
    """Joint labels of four tokens that share the ten classes of Fashion-MNIST.

    Image i of a split shows combination i mod `combinations`, so that combinations are equally
    frequent and `ImageSet.labels` is right for every seed. With a seed (training) the pieces and
    the noise are drawn by (seed, index) alone; without one they are always the same.
    """

    def __init__(self, config: OutfitsConfig) -> None:
        self._config = config
        shared = config.model_dump(include={"root", "validation", "split_seed"})
        self._clothes = FashionMNIST(FashionMNISTConfig.model_validate(shared))
        clothes = self._clothes.facts
        self.combinations = allowed_combinations(
            config.combinations, clothes.num_classes, config.combination_seed
        )
        """The allowed combinations, (combinations, 4)."""
        sizes = {"train": config.train_size, "test": config.test_size}
        if config.validation:
            sizes["validation"] = config.validation_size
        super().__init__(
            replace(
                clothes,
                image_size=config.image_size,
                mean=config.mean,
                std=config.std,
                shorter_side=config.image_size,
                split_sizes=sizes,
                num_tokens=len(_PLACES),
                token_names=_PLACES,
                token_classes=((0, clothes.num_classes),) * len(_PLACES),
                combinations=tuple(map(tuple, self.combinations.tolist())),
            )
        )

    def augmented(self, augmentation: Augmentation) -> Self:
        """The same data set. Raises `RecipeError` for a change, which would move the pieces."""
        off = Augmentation.model_validate({})  # all changes off
        for key in Augmentation.model_fields:
            if getattr(augmentation, key) != getattr(off, key):
                raise RecipeError(
                    f"augmentation.{key}: outfits takes no augmentation, which would move or mix "
                    "the four pieces. Leave it out: training outfits are fresh in each epoch."
                )
        return self

    def _open(self, name: str, augmenter: Augmenter) -> OutfitImages:
        pieces = _Pieces.of(self._clothes.split(name), self._clothes.facts.class_names)
        # Cycled, so that all combinations are equally frequent.
        numbers = torch.arange(self.facts.split_sizes[name])
        labels = self.combinations[numbers % len(self.combinations)]
        return OutfitImages(name, labels, pieces, self._config, self.pixels, augmenter)


class OutfitImages:
    """An `ImageSet` that draws its images when a batch needs them."""

    def __init__(
        self,
        name: str,
        labels: Tensor,
        pieces: _Pieces,
        config: OutfitsConfig,
        pixels: Pixels,
        augmenter: Augmenter,
    ) -> None:
        self.labels = labels
        self._name = name
        self._pieces = pieces
        self._noise = config.noise
        self._fixed = counted_seed(config.split_seed, f"fixed outfits, {name}")
        self._pixels = pixels
        self._augmenter = augmenter

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """Such as `outfits test, image 12`."""
        return f"outfits {self._name}, image {index}"

    def picture(self, index: int) -> Image:
        """The noisy outfit that the network sees without a seed, 14 x 14 grey."""
        return self._drawn([index], None).picture(0)

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These outfits; with a seed they are others, each drawn by (seed, index) alone."""
        batch = self._drawn(indices, seed).batch(range(len(indices)), None)
        return replace(batch, indices=tuple(indices))

    def _drawn(self, indices: Sequence[int], seed: int | None) -> MemoryImages:
        # A seed of its own for each split, so that they share no outfit.
        seed = self._fixed if seed is None else counted_seed(seed, "outfits")
        chosen = torch.tensor(indices)
        labels = self.labels[chosen]
        values = self._pieces.outfits(labels, uniforms(seed, chosen, _DRAWS), self._noise)
        names = tuple(map(self.source, indices))
        return MemoryImages(Bitmaps(values, _WHITE, labels, names), self._pixels, self._augmenter)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Small images of clothes, sorted by class."""

    values: Tensor
    """(n, 49), mean about 0 and deviation about 1."""
    counts: Tensor
    """Images of each class."""

    @classmethod
    def of(cls, clothes: ImageSet, classes: Sequence[str]) -> _Pieces:
        labels = clothes.labels[:, 0]
        counts = labels.bincount(minlength=len(classes))
        for name, count in zip(classes, counts.tolist(), strict=True):
            if not count:
                raise DataError(f"Fashion-MNIST: outfits need images of each class; no {name} here")
        # In parts, since the images at full size need ten times the memory.
        parts = range(0, len(clothes), _AT_A_TIME)
        batches = (range(start, min(start + _AT_A_TIME, len(clothes))) for start in parts)
        values = torch.cat(
            [avg_pool2d(clothes.batch(b, None).images, _POOLED).flatten(1) for b in batches]
        )  # (n, 49)
        return cls(values[labels.argsort(stable=True)], counts)

    def outfits(self, labels: Tensor, draws: Tensor, noise: float) -> Tensor:
        """Pictures of these combinations: labels (B, 4) -> uint8 (B, 1, 14, 14).

        Uniform `draws` (B, 200) decide: four pick an image of each class, the rest are the noise.
        """
        numbers = (draws[:, : len(_PLACES)] * self.counts[labels]).long()  # (B, 4), within a class
        starts = self.counts.cumsum(0) - self.counts  # (classes,)
        clean = self.values[starts[labels] + numbers].double()  # (B, 4, 49)
        normals = torch.special.ndtri(draws[:, len(_PLACES) :].clamp_min(_LEAST))
        noisy = clean + noise * normals.view_as(clean)
        levels = _WHITE * (0.5 + noisy / (8 * math.sqrt(1 + noise**2)))
        pieces = levels.round().clamp(0, _WHITE).byte()  # (B, 4, 49), in reading order
        grid: Tensor = pieces.view(-1, 2, 2, _SIDE, _SIDE).transpose(2, 3)  # (B, 2, 7, 2, 7)
        return grid.reshape(-1, 1, 2 * _SIDE, 2 * _SIDE)
