"""Outfits: four noisy pieces of clothing, of which few combinations are allowed.

`addkit.data.pieces` has what a piece is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.fashion_mnist import FashionMNIST
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.images import Pixels
from addkit.data.pieces import SIDE, WHITE, Pieces
from addkit.data.settings import FashionMNISTConfig, OutfitsConfig
from addkit.data.source import Source
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import RecipeError
from addkit.plugin.values import Batch
from addkit.recipe.tables import Augmentation

_PLACES = ("top left", "top right", "bottom left", "bottom right")


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
        unaugmented(augmentation)
        return self

    def _open(self, name: str, augmenter: Augmenter) -> OutfitImages:
        pieces = Pieces.of(self._clothes.split(name), self._clothes.facts.class_names)
        # Cycled, so that all combinations are equally frequent.
        numbers = torch.arange(self.facts.split_sizes[name])
        labels = self.combinations[numbers % len(self.combinations)]
        return OutfitImages(
            name,
            labels,
            pieces,
            torch.tensor([self._config.noise]),
            counted_seed(self._config.split_seed, f"fixed outfits, {name}"),
            self.pixels,
            augmenter,
        )


def unaugmented(augmentation: Augmentation) -> None:
    """Raise `RecipeError` for an augmentation, which would move the pieces of an outfit."""
    off = Augmentation.model_validate({})  # all changes off
    for key in Augmentation.model_fields:
        if getattr(augmentation, key) != getattr(off, key):
            raise RecipeError(
                f"augmentation.{key}: outfits takes no augmentation, which would move or mix "
                "the pieces. Leave it out: training outfits are fresh in each epoch."
            )


class OutfitImages:
    """An `ImageSet` that draws its images when a batch needs them.

    Args:
        name: of the split.
        labels: (n, N) of its images.
        pieces: that images are put together from.
        noise: levels (L,); each image has one of them, with equal chances.
        fixed: seed of the images that are drawn without one.
        pixels: size and scale.
        augmenter: with all changes off.
    """

    def __init__(
        self,
        name: str,
        labels: Tensor,
        pieces: Pieces,
        noise: Tensor,
        fixed: int,
        pixels: Pixels,
        augmenter: Augmenter,
    ) -> None:
        self.labels = labels
        self._name = name
        self._pieces = pieces
        self._noise = noise
        self._fixed = fixed
        self._pixels = pixels
        self._augmenter = augmenter

    def __len__(self) -> int:
        return len(self.labels)

    def source(self, index: int) -> str:
        """Such as `outfits test, image 12`."""
        return f"outfits {self._name}, image {index}"

    def picture(self, index: int) -> Image:
        """The noisy outfit that the network sees without a seed, grey."""
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
        count = labels.shape[1] * (1 + SIDE**2)
        draws = uniforms(seed, chosen, count + 1)
        noise = self._noise[(draws[:, count] * len(self._noise)).long()]  # (B,)
        values = self._pieces.pictures(labels, draws[:, :count], noise)
        names = tuple(map(self.source, indices))
        return MemoryImages(Bitmaps(values, WHITE, labels, names), self._pixels, self._augmenter)
