"""Linked outfits: many noisy pieces in blocks that hang together, and annotators who may be wrong.

A law of N = 4 x blocks labels. Each block is one of a list of four labels. Blocks are interleaved,
place n belongs to block n mod blocks, so that after half of the places nearly every word is still
possible; and they are linked: the first label of a block allows some of the first labels of the
next one. An annotator's answers on some places come with each image as soft evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from addkit.data.augmentation import Augmenter
from addkit.data.fashion_mnist import FashionMNIST
from addkit.data.outfits import OutfitImages, unaugmented
from addkit.data.pieces import Pieces
from addkit.data.settings import FashionMNISTConfig, LinkedOutfitsConfig
from addkit.data.source import Source
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.plugin.values import Batch
from addkit.recipe.tables import Augmentation

_BLOCK = 4
"""Labels of a block."""


def linked_words(
    blocks: int, block_words: int, partners: int, num_classes: int, seed: int
) -> Tensor:
    """The allowed words (M, 4 blocks), block by block: labels of a block are neighbours.

    Args:
        blocks: of four labels each.
        block_words: allowed words of a block, of num_classes^4.
        partners: first labels of the next block that a first label allows.
        num_classes: K.
        seed: of lists and links.
    """
    everything = torch.arange(num_classes**_BLOCK)
    powers = num_classes ** torch.arange(_BLOCK - 1, -1, -1)
    lists = []
    for block in range(blocks):
        keys = uniforms(counted_seed(seed, "linked words", block), everything, 1)[:, 0]
        chosen = keys.argsort(stable=True)[:block_words].sort().values
        lists.append(chosen[:, None] // powers % num_classes)  # (block_words, 4)
    chosen = torch.cartesian_prod(*[torch.arange(block_words)] * blocks).view(-1, blocks)
    allowed = torch.ones(len(chosen), dtype=torch.bool)
    labels = torch.arange(num_classes)
    for block in range(blocks - 1):
        keys = uniforms(counted_seed(seed, "links", block), labels, num_classes)  # (K, K)
        linked = keys.argsort(dim=1, stable=True).argsort(dim=1) < partners
        first, following = (lists[b][chosen[:, b], 0] for b in (block, block + 1))
        allowed &= linked[first, following]
    chosen = chosen[allowed]
    return torch.cat([lists[block][chosen[:, block]] for block in range(blocks)], 1)


@dataclass(frozen=True, slots=True)
class Annotator:
    """Answers on some places: the label with probability `accuracy`, else any other."""

    accuracy: float
    places: Tensor
    """(N,) bool: those that it is asked about."""

    def evidence(self, labels: Tensor, draws: Tensor, num_classes: int) -> Tensor:
        """Log-likelihoods (B, N, K) of its answers on labels (B, N), by uniforms (B, 2 N)."""
        right, other = draws.chunk(2, 1)  # (B, N) each
        wrong = (labels + 1 + (other * (num_classes - 1)).long()) % num_classes
        answers = torch.where(right < self.accuracy, labels, wrong)
        likelihoods = torch.full((num_classes,), (1 - self.accuracy) / (num_classes - 1))
        table = torch.where(one_hot(answers, num_classes).bool(), self.accuracy, likelihoods)
        return table.log() * self.places.unsqueeze(-1)


class LinkedOutfits(Source):
    """Joint labels of 4 x blocks tokens, with evidence in the images of evaluations.

    Image i of train shows word i mod M, one of another split a drawn word. With a seed (training)
    pieces and noise are drawn by (seed, index) alone; without one pictures and the annotator's
    answers are always the same.
    """

    def __init__(self, config: LinkedOutfitsConfig) -> None:
        self._config = config
        shared = config.model_dump(include={"root", "validation", "split_seed"})
        self._clothes = FashionMNIST(FashionMNISTConfig.model_validate(shared))
        clothes = self._clothes.facts
        words = linked_words(
            config.blocks,
            config.block_words,
            config.partners,
            clothes.num_classes,
            config.word_seed,
        )
        # Place n belongs to block n mod blocks.
        order = torch.arange(words.shape[1]).view(config.blocks, _BLOCK).T.flatten()
        names = [f"{'abcdef'[block]}{n}" for block in range(config.blocks) for n in range(1, 5)]
        places = torch.arange(len(names))
        asked = {
            "none": places < 0,
            "first-half": places < len(names) // 2,
            "last-half": places >= len(names) // 2,
            "all": places >= 0,
        }[config.asked]
        if config.reverse:
            order, asked = order.flip(0), asked.flip(0)
        self.words = words[:, order]
        """The allowed words, (M, N)."""
        self.annotator = Annotator(config.accuracy, asked)
        """Of the images of evaluations."""
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
                num_tokens=len(names),
                token_names=tuple(names[place] for place in order.tolist()),
                token_classes=((0, clothes.num_classes),) * len(names),
                combinations=tuple(map(tuple, self.words.tolist())),
            )
        )

    def augmented(self, augmentation: Augmentation) -> Self:
        """The same data set. Raises `RecipeError` for a change, which would move the pieces."""
        unaugmented(augmentation)
        return self

    def _open(self, name: str, augmenter: Augmenter) -> LinkedImages:
        pieces = Pieces.of(self._clothes.split(name), self._clothes.facts.class_names)
        fixed = counted_seed(self._config.split_seed, f"fixed linked outfits, {name}")
        numbers = torch.arange(self.facts.split_sizes[name])
        if name != "train":
            # Fewer images than words, whose order is no chance.
            numbers = (uniforms(counted_seed(fixed, "words"), numbers, 1)[:, 0] * 2**40).long()
        levels = self._config.noise if name == "train" else self._config.test_noise
        return LinkedImages(
            name,
            self.words[numbers % len(self.words)],
            pieces,
            torch.tensor([math.inf if level == "no picture" else level for level in levels]),
            fixed,
            self.pixels,
            augmenter,
            annotator=self.annotator,
        )


class LinkedImages(OutfitImages):
    """An `ImageSet` that draws its images, and without a seed an annotator's answers on them."""

    def __init__(self, *outfit: Any, annotator: Annotator) -> None:
        super().__init__(*outfit)
        self._annotator = annotator

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        """These images; without a seed with soft evidence (B, N, K)."""
        batch = super().batch(indices, seed)
        if seed is not None:
            return batch
        chosen = torch.tensor(indices)
        count = self.labels.shape[1]
        draws = uniforms(counted_seed(self._fixed, "annotator"), chosen, 2 * count)
        evidence = self._annotator.evidence(self.labels[chosen], draws, len(self._pieces.counts))
        return replace(batch, evidence=evidence)
