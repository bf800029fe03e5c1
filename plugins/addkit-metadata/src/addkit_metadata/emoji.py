"""The embedded emoji with gender, skin tone and length of their names as side inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.emoji import EMOJI_FILE, emoji_bitmaps, emoji_list
from addkit.data.image_sets import MemoryImages
from addkit.data.side_inputs import SideInputsImages
from addkit.data.source import Source, facts_of, hold_out_splits
from addkit.diffusion import counted_seed
from addkit_metadata.columns import Cells, learn_columns, side_inputs_of
from addkit_metadata.settings import EmojiColumnsConfig

KINDS = {"gender": "category", "tone": "category", "words": "number"}
CELLS = 1 << 20
"""Resolution of the uniform draw in [0, 1) that decides which cells are missing."""


class EmojiColumns(Source):
    """Drawings of emoji with columns; a thing, with all its variants, is in one split."""

    def __init__(self, config: EmojiColumnsConfig) -> None:
        self._groups = tuple(sorted({emoji.group for emoji in emoji_list()}))
        self._splits = _splits(config)
        self._cells = [_column(name, config) for name in KINDS]
        # From train alone: means, deviations and categories must not depend on held-out rows.
        train = [cells.at(self._splits["train"]) for cells in self._cells]
        self._columns = learn_columns(train, KINDS, EMOJI_FILE)
        super().__init__(
            facts_of(
                config,
                num_classes=len(self._groups),
                class_names=self._groups,
                split_sizes={name: len(rows) for name, rows in self._splits.items()},
                files=(EMOJI_FILE,),
                columns=tuple(self._columns),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        rows = self._splits[name]
        labels = [[self._groups.index(emoji_list()[row].group)] for row in rows]  # (n, 1)
        images = MemoryImages(emoji_bitmaps(rows, torch.tensor(labels)), self.pixels, augmenter)
        cells = [cells.at(rows) for cells in self._cells]
        return SideInputsImages(images, side_inputs_of(self._columns, cells, EMOJI_FILE, "missing"))


def _column(name: str, config: EmojiColumnsConfig) -> Cells:
    values = [
        None
        if counted_seed(config.split_seed, f"missing {name}", row) % CELLS < config.missing * CELLS
        else (str(len(emoji.caption.split())) if name == "words" else getattr(emoji, name)) or None
        for row, emoji in enumerate(emoji_list())
    ]
    return Cells(name, values, range(len(values)))


def _splits(config: EmojiColumnsConfig) -> dict[str, Sequence[int]]:
    """Rows by split: a thing is held out with all its variants."""
    group = {emoji.base: emoji.group for emoji in emoji_list()}
    bases, groups = list(group), sorted(set(group.values()))
    labels = [groups.index(group[base]) for base in bases]
    shares = {"test": config.test_share, "validation": config.validation}
    # Bases are split, not rows: a variant in train would give away the group of the others.
    splits = hold_out_splits(labels, bases, shares, config.split_seed)
    split_of = {bases[position]: name for name, part in splits.items() for position in part}
    return {
        name: [row for row, emoji in enumerate(emoji_list()) if split_of[emoji.base] == name]
        for name in splits
    }
