"""The embedded emoji with what is known of them beside the drawing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from addkit.data.augmentation import Augmenter
from addkit.data.emoji import EMOJI_FILE, emoji_bitmaps, emoji_list
from addkit.data.image_sets import MemoryImages
from addkit.data.side_inputs import SideInputsImages
from addkit.data.source import Source, hold_out
from addkit.diffusion import counted_seed
from addkit.plugin.facts import DataFacts
from addkit_metadata import EmojiColumnsConfig
from addkit_metadata.columns import Cells, learn_columns, side_inputs_of

KINDS = {"gender": "category", "tone": "category", "words": "number"}
CELLS = 1 << 20
"""Steps of the count that decides which cells are missing."""


class EmojiColumns(Source):
    """Drawings of emoji; things, with all their variants, are in one split."""

    def __init__(self, config: EmojiColumnsConfig) -> None:
        self._groups = tuple(sorted({emoji.group for emoji in emoji_list()}))
        self._splits = _splits(config)
        self._cells = [_column(name, config) for name in KINDS]
        train = [one.at(self._splits["train"]) for one in self._cells]
        self._columns = learn_columns(train, KINDS, EMOJI_FILE)
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
                columns=tuple(self._columns),
            )
        )

    def _open(self, name: str, augmenter: Augmenter) -> SideInputsImages:
        rows = self._splits[name]
        labels = [[self._groups.index(emoji_list()[row].group)] for row in rows]
        images = MemoryImages(emoji_bitmaps(rows, torch.tensor(labels)), self.pixels, augmenter)
        cells = [one.at(rows) for one in self._cells]
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
    groups, splits = sorted(set(group.values())), {"train": list(group)}
    for purpose, share in (("test", config.test_share), ("validation", config.validation)):
        if share:
            pool = splits["train"]
            labels = [groups.index(group[base]) for base in pool]
            kept, held = hold_out(labels, pool, share, config.split_seed, purpose)
            splits |= {"train": [pool[i] for i in kept], purpose: [pool[i] for i in held]}
    home = {base: name for name, bases in splits.items() for base in bases}
    return {
        name: [row for row, emoji in enumerate(emoji_list()) if home[emoji.base] == name]
        for name in splits
    }
