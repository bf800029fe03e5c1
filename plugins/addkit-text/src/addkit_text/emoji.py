"""The embedded emoji with their names as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from addkit.data.augmentation import Augmenter
from addkit.data.emoji import EMOJI_FILE, emoji_bitmaps, emoji_list
from addkit.data.image_sets import MemoryImages
from addkit.data.side_inputs import SideInputsImages
from addkit.data.source import Source, hold_out
from addkit.diffusion import counted_generator, counted_seed
from addkit.plugin.facts import Column, DataFacts
from addkit_text import EmojiSentencesConfig

NAME = Column("name", "text")
CELLS = 1 << 20
"""Steps of the count that decides which sentences are missing."""


class EmojiSentences(Source):
    """Drawings of emoji behind noise that follows from their number, and their names."""

    def __init__(self, config: EmojiSentencesConfig) -> None:
        self._config = config
        self._groups = tuple(sorted({emoji.group for emoji in emoji_list()}))
        self._splits = _splits(config)
        super().__init__(
            DataFacts(
                num_classes=len(self._groups),
                class_names=self._groups,
                image_size=config.image_size,
                image_channels=config.image_channels,
                mean=config.mean,
                std=config.std,
                shorter_side=config.image_size,
                split_sizes={name: len(rows) for name, rows in self._splits.items()},
                files=(EMOJI_FILE,),
                columns=(NAME,),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        rows = self._splits[name]
        labels = [[self._groups.index(emoji_list()[row].group)] for row in rows]
        bitmaps = emoji_bitmaps(rows, torch.tensor(labels))
        values = torch.stack(list(map(self._noisy, rows, bitmaps.values)))
        images = MemoryImages(replace(bitmaps, values=values), self.pixels, augmenter)
        return SideInputsImages(images, {NAME.name: tuple(map(self._sentence, rows))})

    def _noisy(self, row: int, levels: Tensor) -> Tensor:
        generator = counted_generator(self._config.split_seed, "emoji noise", row)
        noise = torch.randn(levels.shape, generator=generator) * 255 * self._config.noise
        return (levels + noise).round().clamp(0, 255).byte()

    def _sentence(self, row: int) -> str:
        draw = counted_seed(self._config.split_seed, "missing", row) % CELLS
        return "" if draw < self._config.missing * CELLS else emoji_list()[row].caption


def _splits(config: EmojiSentencesConfig) -> dict[str, Sequence[int]]:
    """Rows by split."""
    groups = sorted({emoji.group for emoji in emoji_list()})
    splits: dict[str, Sequence[int]] = {"train": range(len(emoji_list()))}
    for purpose, share in (("test", config.test_share), ("validation", config.validation)):
        if share:
            pool = splits["train"]
            labels = [groups.index(emoji_list()[row].group) for row in pool]
            names = [emoji_list()[row].file for row in pool]
            kept, held = hold_out(labels, names, share, config.split_seed, purpose)
            splits |= {"train": [pool[i] for i in kept], purpose: [pool[i] for i in held]}
    return splits
