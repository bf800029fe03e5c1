"""Small made tables of images, and a small Fashion-MNIST whose pixels tell the class."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

Paint = Callable[..., Path]
Table = Callable[..., Path]

SIZES = ("big", "small")
TONES = ("dark", "light", "medium")
IMAGE = re.compile(r"[\w/-]+\.png")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Writes lines to pets.csv, and an empty file for each image."""

    def write(*lines: str, name: str = "pets.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", "utf-8")
        for image in IMAGE.findall("\n".join(lines)):
            (tmp_path / image).parent.mkdir(exist_ok=True)
            (tmp_path / image).touch()
        return path

    return write


@pytest.fixture
def pets(table: Table, paint: Paint) -> Path:
    """Five images of each of six combinations; image, size, tone."""
    lines = ["image,size,tone"]
    for number, (size, tone) in enumerate(itertools.product(SIZES, TONES)):
        lines += [f"images/{number}-{copy}.png,{size},{tone}" for copy in range(5)]
    path = table(*lines)
    for line in lines[1:]:
        paint(path.parent / line.split(",")[0])
    return path


@pytest.fixture(scope="session")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Fashion-MNIST of 400 + 60 images; the pixels of class k are 20 k to 20 k + 9."""
    root = tmp_path_factory.mktemp("clothes")
    for stem, count in (("train", 400), ("t10k", 60)):
        labels = np.arange(count) % 10
        levels = 20 * labels + np.arange(count) // 10 % 10
        pixels = np.broadcast_to(levels[:, None, None], (count, 28, 28))
        (root / f"{stem}-images-idx3-ubyte").write_bytes(_idx(pixels))
        (root / f"{stem}-labels-idx1-ubyte").write_bytes(_idx(labels))
    return root


def _idx(values: np.ndarray) -> bytes:
    shape: Sequence[int] = values.shape
    sizes = struct.pack(f">{len(shape)}I", *shape)
    return bytes([0, 0, 8, len(shape)]) + sizes + values.astype(np.uint8).tobytes()
