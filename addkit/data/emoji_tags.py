"""The embedded emoji with the words of their names as tags: person, skin tone, hair, things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from addkit.data.augmentation import Augmenter
from addkit.data.emoji import EMOJI_FILE, VARIANTS, Emoji, emoji_bitmaps, emoji_list
from addkit.data.image_sets import MemoryImages
from addkit.data.settings import EmojiTagsConfig
from addkit.data.source import Source, hold_out_combinations
from addkit.data.tags import TaggedImage, choose_tags, tag_facts, tag_labels

_TONE = re.compile(r"(medium-light|medium-dark|light|medium|dark) skin tone")
_FILLERS = frozenset(["a", "an", "and", "at", "for", "in", "of", "on", "the", "to", "up", "with"])


def tags_of(emoji: Emoji) -> frozenset[str]:
    """The words of its name, each skin tone as one tag, and `human` for whoever has a gender."""
    words = re.findall(r"[a-z][a-z-]+", _TONE.sub(" ", emoji.caption.lower()))
    tones = (f"{tone} skin" for tone in _TONE.findall(emoji.caption))
    human = () if emoji.gender == "none" else ("human",)
    return frozenset({*words, *tones, *human} - _FILLERS)


class EmojiTags(Source):
    """Drawings of emoji with their tags; read from the package."""

    def __init__(self, config: EmojiTagsConfig) -> None:
        counts = Counter(emoji.base for emoji in emoji_list())
        chosen = [p for p, emoji in enumerate(emoji_list()) if counts[emoji.base] >= VARIANTS]
        images = [
            TaggedImage(e.file, f"emoji, {e.file}", tags_of(e)) for e in emoji_list()
        ]  # in the order of `emoji_list`
        positions: dict[str, Sequence[int]] = {"train": chosen}
        for purpose, share in (("test", config.test_share), ("validation", config.validation)):
            if share:
                train = positions["train"]
                # The base too, so that what is held out is a variant of something that stays.
                parts = [images[p].tags | {f"base {emoji_list()[p].base}"} for p in train]
                files = [images[p].name for p in train]
                kept, held = hold_out_combinations(parts, files, share, config.split_seed)
                positions |= {"train": [train[i] for i in kept], purpose: [train[i] for i in held]}
        self._positions: Mapping[str, Sequence[int]] = positions
        splits = {name: [images[p] for p in part] for name, part in positions.items()}
        tags = choose_tags(EMOJI_FILE, splits["train"], (), config.least_images)
        self._labels = {name: tag_labels(tags, part) for name, part in splits.items()}
        super().__init__(tag_facts(config, tags, splits, (EMOJI_FILE,)))

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        bitmaps = emoji_bitmaps(self._positions[name], self._labels[name])
        return MemoryImages(bitmaps, self.pixels, augmenter)
