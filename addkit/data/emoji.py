"""The embedded emoji and their captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from addkit.data.augment import Augmenter
from addkit.data.captioned import Captions, CaptionTokens, caption_facts
from addkit.data.combinations import hold_out_combinations
from addkit.data.emoji_file import EMOJI_FILE, Emoji, emoji_bitmaps, emoji_list
from addkit.data.memory_images import MemoryImages
from addkit.data.references import ReferencedImages
from addkit.data.settings import EmojiConfig
from addkit.data.source import Source
from addkit.plugin.protocols import Tokenizer

_VARIANTS = 3
_TONED = re.compile(r"(.+) ((?:medium-light|medium-dark|light|medium|dark) skin tone)")


class EmojiCaptions(Source):
    """Drawings of emoji with their names, split by combination; read from the package."""

    def __init__(self, config: EmojiConfig, tokenizer: Tokenizer) -> None:
        self._positions = _split(config)
        self._captions = {
            name: _captions(positions, config.forms) for name, positions in self._positions.items()
        }
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        super().__init__(caption_facts(config, self._tokens, (EMOJI_FILE,)))

    def _open(self, name: str, augmenter: Augmenter) -> ReferencedImages:
        references, texts = self._tokens.references[name], self._captions[name].texts
        bitmaps = emoji_bitmaps(self._positions[name], references.first())
        images = MemoryImages(bitmaps, self.pixels, augmenter)
        return ReferencedImages(images, references, texts, self._tokens.vocabulary.plain)


def _split(config: EmojiConfig) -> Mapping[str, Sequence[int]]:
    """Positions in the list by split.

    The three orders are taken of the same splits, so that the two tasks share their images.
    """
    chosen = _subset(config.subset)
    train = [position for position in chosen if emoji_list()[position].split == "train"]
    splits = {"train": train, "test": [at for at in chosen if emoji_list()[at].split == "test"]}
    if config.validation:
        emoji = [emoji_list()[position] for position in train]
        kept, held = hold_out_combinations(
            [_parts(one) for one in emoji],
            [one.file for one in emoji],
            config.validation,
            config.split_seed,
        )
        splits |= {"train": [train[i] for i in kept], "validation": [train[i] for i in held]}
    if config.forms == 1:
        return splits
    return {
        name: [at for at in part if len(_orders(emoji_list()[at].caption)) > 1]
        for name, part in splits.items()
    }


def _subset(subset: str) -> Sequence[int]:
    if subset == "all":
        return range(len(emoji_list()))
    counts = Counter(emoji.base for emoji in emoji_list())
    return [at for at, emoji in enumerate(emoji_list()) if counts[emoji.base] >= _VARIANTS]


def _parts(emoji: Emoji) -> frozenset[str]:
    return frozenset({f"base {emoji.base}", *emoji.caption.lower().split()})


def _captions(positions: Sequence[int], forms: int) -> Captions:
    emoji = [emoji_list()[position] for position in positions]
    texts = tuple(_orders(one.caption) if forms > 1 else (one.caption,) for one in emoji)
    return Captions(tuple(one.file for one in emoji), texts)


def _orders(caption: str) -> tuple[str, ...]:
    """The caption, its skin tone first, its skin tone after "with"; if it ends in its only one."""
    toned = _TONED.fullmatch(caption)
    if toned is None or "skin tone" in toned[1]:
        return (caption,)
    thing, tone = toned.groups()
    return caption, f"{tone} {thing}", f"{thing} with {tone}"
