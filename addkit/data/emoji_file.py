"""The embedded emoji: 3,788 drawings with their names and attributes, as the package holds them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from zipfile import ZipFile

import torch
from torch import Tensor

from addkit.data.images import read_image
from addkit.data.memory_images import Bitmaps
from addkit.data.pixels import to_levels

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
