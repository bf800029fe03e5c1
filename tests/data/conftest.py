"""Small made image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture
def paint() -> Paint:
    """Writes a noise image of a given size; what it shows follows from its name."""

    def write(path: Path, width: int = 20, height: int = 16) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(path.name.encode()))
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def pets(tmp_path: Path, paint: Paint) -> Path:
    """Two classes of ten images, directly under the root."""
    root = tmp_path / "pets"
    for kind in ("cat", "dog"):
        for number in range(10):
            paint(root / kind / f"{kind}{number}.png")
    return root
