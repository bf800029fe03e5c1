"""The embedded emoji: 3,788 drawings with their names and attributes, as the package holds them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from zipfile import ZipFile

import torch
from torch import Tensor

from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.augmentation import Augmenter
from addkit.data.captions import Captions, CaptionTokens, ReferencedImages, caption_facts
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.images import read_image, to_levels
from addkit.data.settings import EmojiAttributesConfig, EmojiConfig
from addkit.data.source import Source
from addkit.data.splits import hold_out_combinations
from addkit.plugin.protocols import Tokenizer

_FILE = files("addkit.data").joinpath("embedded", "emoji.zip")
EMOJI_FILE = Path(str(_FILE))
_WHITE = 255


@dataclass(frozen=True, slots=True)
class Emoji:
    """One drawing: a line of captions.csv."""

    file: str
    emoji: str
    base: str
    """What it is a variant of."""
    caption: str
    split: str
    """`train` or `test`; each base of `test` is in `train` in another variant, and each word."""
    group: str
    gender: str
    tone: str
    """The skin tone, `none` for none; empty for two different ones."""


@cache
def emoji_list() -> tuple[Emoji, ...]:
    """All 3,788, in the order of the file."""
    with as_file(_FILE) as path, ZipFile(path) as archive:
        lines = io.StringIO(archive.read("captions.csv").decode("utf-8"), newline="")
    return tuple(Emoji(**row) for row in csv.DictReader(lines))


def emoji_bitmaps(positions: Sequence[int], labels: Tensor) -> Bitmaps:
    """The drawings at these positions of `emoji_list`, 64 x 64 RGB, with labels (n, N)."""
    chosen = torch.tensor(positions, dtype=torch.int64)
    names = tuple(f"emoji, {emoji_list()[position].file}" for position in positions)
    return Bitmaps(_drawings()[chosen], _WHITE, labels, names)


@cache
def _drawings() -> Tensor:
    with as_file(_FILE) as path, ZipFile(path) as archive:
        streams = (io.BytesIO(archive.read(emoji.file)) for emoji in emoji_list())
        return torch.stack([to_levels(read_image(stream, 3)) for stream in streams])


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


class EmojiAttributes(Source):
    """Drawings of emoji with their attributes, split by combination; read from the package.

    An emoji of two skin tones has no `tone`: its label is `MISSING`.
    """

    def __init__(self, config: EmojiAttributesConfig) -> None:
        self._positions = _split_attributes(config)
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


def _split_attributes(config: EmojiAttributesConfig) -> Mapping[str, Sequence[int]]:
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
