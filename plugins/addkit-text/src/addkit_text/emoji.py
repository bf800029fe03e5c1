"""The embedded emoji with their names as sentences."""

from __future__ import annotations

from dataclasses import replace

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.emoji import EMOJI_FILE, emoji_bitmaps, emoji_list
from addkit.data.image_sets import MemoryImages
from addkit.data.side_inputs import SideInputsImages
from addkit.data.source import Source, facts_of, hold_out_splits
from addkit.diffusion import counted_generator, counted_seed
from addkit.plugin.values import Column
from addkit_text.settings import EmojiSentencesConfig

NAME = Column("name", "text")
CELLS = 1 << 20
"""Resolution of the uniform draw in [0, 1) that decides which sentences are missing."""


class EmojiSentences(Source):
    """Drawings of emoji behind noise, with their names as sentences.

    Noise and missing sentences follow from (split_seed, number of the emoji), not from the split.
    """

    def __init__(self, config: EmojiSentencesConfig) -> None:
        self._config = config
        emoji = emoji_list()
        self._groups = tuple(sorted({each.group for each in emoji}))
        self._labels = [self._groups.index(each.group) for each in emoji]
        self._splits = hold_out_splits(
            self._labels,
            [each.file for each in emoji],
            {"test": config.test_share, "validation": config.validation},
            config.split_seed,
        )
        super().__init__(
            facts_of(
                config,
                num_classes=len(self._groups),
                class_names=self._groups,
                split_sizes={name: len(rows) for name, rows in self._splits.items()},
                files=(EMOJI_FILE,),
                columns=(NAME,),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        rows = self._splits[name]
        labels = torch.tensor([[self._labels[row]] for row in rows])  # (n, 1)
        bitmaps = emoji_bitmaps(rows, labels)
        noisy, sentences = [], []
        for row, levels in zip(rows, bitmaps.values, strict=True):
            # Levels are 0 to 255, and the noise is in units of white.
            generator = counted_generator(self._config.split_seed, "emoji noise", row)
            noise = torch.randn(levels.shape, generator=generator) * 255 * self._config.noise
            noisy.append((levels + noise).round().clamp(0, 255).byte())  # (3, 64, 64)
            # A counted draw: which sentences are missing does not depend on the split.
            draw = counted_seed(self._config.split_seed, "missing", row) % CELLS
            missing = draw < self._config.missing * CELLS
            sentences.append("" if missing else emoji_list()[row].caption)
        bitmaps = replace(bitmaps, values=torch.stack(noisy))
        images = MemoryImages(bitmaps, self.pixels, augmenter)
        return SideInputsImages(images, {NAME.name: tuple(sentences)})
