"""The embedded emoji and their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.augment import Augmenter
from addkit.data.combinations import hold_out_combinations
from addkit.data.emoji_file import EMOJI_FILE, emoji_bitmaps, emoji_list
from addkit.data.joint_settings import EmojiAttributesConfig
from addkit.data.memory_images import MemoryImages
from addkit.data.source import Source


class EmojiAttributes(Source):
    """Drawings of emoji with their attributes, split by combination; read from the package.

    An emoji of two skin tones has no `tone`: its label is `MISSING`.
    """

    def __init__(self, config: EmojiAttributesConfig) -> None:
        self._positions = _split(config)
        rows = {name: _rows(at, config.attributes) for name, at in self._positions.items()}
        attributes = Attributes.learn(config.attributes, rows["train"])
        self._labels = {name: attributes.labels(part) for name, part in rows.items()}
        super().__init__(joint_facts(config, attributes, rows, (EMOJI_FILE,)))

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        bitmaps = emoji_bitmaps(self._positions[name], self._labels[name])
        return MemoryImages(bitmaps, self.pixels, augmenter)


def _rows(positions: Sequence[int], attributes: Sequence[str]) -> list[Row]:
    emoji = [emoji_list()[position] for position in positions]
    values = (tuple(getattr(one, name) or None for name in attributes) for one in emoji)
    return [
        Row(one.file, f"emoji, {one.file}", known) for one, known in zip(emoji, values, strict=True)
    ]


def _split(config: EmojiAttributesConfig) -> Mapping[str, Sequence[int]]:
    """Positions in the list by split."""
    splits: dict[str, list[int]] = {"train": [], "test": []}
    for position, emoji in enumerate(emoji_list()):
        splits[emoji.split].append(position)
    if not config.validation:
        return splits
    train = splits["train"]
    rows = _rows(train, config.attributes)
    kept, held = hold_out_combinations(
        # The base too, so that what is held out is a variant of something that stays.
        [
            row.parts | {f"base {emoji_list()[at].base}"}
            for row, at in zip(rows, train, strict=True)
        ],
        [row.name for row in rows],
        config.validation,
        config.split_seed,
    )
    return {
        **splits,
        "train": [train[i] for i in kept],
        "validation": [train[i] for i in held],
    }
