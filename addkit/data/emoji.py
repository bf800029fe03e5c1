"""The embedded emoji, 3,788 drawings: with their names as captions, and with their attributes."""

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
from addkit.data.source import Source, hold_out_combinations
from addkit.plugin.protocols import Tokenizer

_FILE = files("addkit.data").joinpath("embedded", "emoji.zip")
EMOJI_FILE = Path(str(_FILE))
_WHITE = 255
VARIANTS = 3
"""Emoji of a base that are enough to hold some of them out."""
_TONED = re.compile(r"(.+) ((?:medium-light|medium-dark|light|medium|dark) skin tone)")


@dataclass(frozen=True, slots=True)
class Emoji:
    """One drawing: a line of captions.csv."""

    file: str
    emoji: str
    base: str
    """The emoji that it is a variant of."""
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
    # as_file: the package itself may be imported from a zip file.
    with as_file(_FILE) as path, ZipFile(path) as archive:
        lines = io.StringIO(archive.read("captions.csv").decode("utf-8"), newline="")
    return tuple(Emoji(**row) for row in csv.DictReader(lines))


def emoji_bitmaps(positions: Sequence[int], labels: Tensor) -> Bitmaps:
    """The drawings at these positions of `emoji_list`, 64 x 64 RGB, with labels (n, N)."""
    chosen = torch.tensor(positions, dtype=torch.int64)
    names = tuple(f"emoji, {emoji_list()[position].file}" for position in positions)
    return Bitmaps(_drawings()[chosen], _WHITE, labels, names)


# Cached, as three splits share the drawings: 46 MB once they are decoded.
@cache
def _drawings() -> Tensor:
    """(3788, 3, 64, 64), uint8."""
    with as_file(_FILE) as path, ZipFile(path) as archive:
        streams = (io.BytesIO(archive.read(emoji.file)) for emoji in emoji_list())
        return torch.stack([to_levels(read_image(stream, 3)) for stream in streams])


class EmojiCaptions(Source):
    """Drawings of emoji with their names, split by combination; read from the package."""

    def __init__(self, config: EmojiConfig, tokenizer: Tokenizer) -> None:
        self._positions = _caption_splits(config)
        self._captions: dict[str, Captions] = {}
        for name, positions in self._positions.items():
            emoji = [emoji_list()[position] for position in positions]
            # Several right orders of one caption: a task whose answers are not unique.
            texts = (_orders(e.caption) if config.forms > 1 else (e.caption,) for e in emoji)
            self._captions[name] = Captions(tuple(e.file for e in emoji), tuple(texts))
        self._tokens = CaptionTokens.of(self._captions, tokenizer, config.max_tokens)
        super().__init__(caption_facts(config, self._tokens, (EMOJI_FILE,)))

    def _open(self, name: str, augmenter: Augmenter) -> ReferencedImages:
        references, texts = self._tokens.references[name], self._captions[name].texts
        bitmaps = emoji_bitmaps(self._positions[name], references.first())
        images = MemoryImages(bitmaps, self.pixels, augmenter)
        return ReferencedImages(images, references, texts, self._tokens.vocabulary.plain)


def _caption_splits(config: EmojiConfig) -> Mapping[str, Sequence[int]]:
    """Positions in the list by split."""
    # Emoji with too few variants teach no word that combines with others.
    counts = Counter(emoji.base for emoji in emoji_list())
    splits: dict[str, list[int]] = {"train": [], "test": []}
    for position, emoji in enumerate(emoji_list()):
        if config.subset == "all" or counts[emoji.base] >= VARIANTS:
            splits[emoji.split].append(position)
    if config.validation:
        train = [emoji_list()[position] for position in splits["train"]]
        parts = [frozenset({f"base {e.base}", *e.caption.lower().split()}) for e in train]
        splits |= _held_out(splits["train"], parts, config.validation, config.split_seed)
    if config.forms == 1:
        return splits
    # Filtered only now, so that the tasks of one order and of three share their splits.
    return {
        name: [position for position in part if len(_orders(emoji_list()[position].caption)) > 1]
        for name, part in splits.items()
    }


def _orders(caption: str) -> tuple[str, ...]:
    """The caption, its skin tone first, its skin tone after "with"; if it ends in its only one."""
    # Two tones ("light skin tone, dark skin tone") have no one order to move.
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
        splits: dict[str, list[int]] = {"train": [], "test": []}
        for position, emoji in enumerate(emoji_list()):
            splits[emoji.split].append(position)
        if config.validation:
            train = splits["train"]
            rows = _rows(train, config.attributes)
            # The base too, so that what is held out is a variant of something that stays.
            bases = (f"base {emoji_list()[position].base}" for position in train)
            parts = [row.parts | {base} for row, base in zip(rows, bases, strict=True)]
            splits |= _held_out(train, parts, config.validation, config.split_seed)
        self._positions = splits
        table = {name: _rows(part, config.attributes) for name, part in splits.items()}
        attributes = Attributes.learn(config.attributes, table["train"])
        self._labels = {name: attributes.labels(rows) for name, rows in table.items()}
        super().__init__(joint_facts(config, attributes, table, (EMOJI_FILE,)))

    def _open(self, name: str, augmenter: Augmenter) -> MemoryImages:
        bitmaps = emoji_bitmaps(self._positions[name], self._labels[name])
        return MemoryImages(bitmaps, self.pixels, augmenter)


def _rows(positions: Sequence[int], attributes: Sequence[str]) -> list[Row]:
    rows = []
    for position in positions:
        emoji = emoji_list()[position]
        # An empty cell is an unknown value; "none" is a value.
        values = tuple(getattr(emoji, name) or None for name in attributes)
        rows.append(Row(emoji.file, f"emoji, {emoji.file}", values))
    return rows


def _held_out(
    train: Sequence[int], parts: Sequence[frozenset[str]], share: float, seed: int
) -> Mapping[str, list[int]]:
    """`train` without the held-out combinations, and those as `validation`."""
    files = [emoji_list()[position].file for position in train]
    kept, held = hold_out_combinations(parts, files, share, seed)
    return {"train": [train[i] for i in kept], "validation": [train[i] for i in held]}
