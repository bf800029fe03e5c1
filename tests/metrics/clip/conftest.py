"""A tiny CLIP with random weights, as a folder that open_clip reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

TINY: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 16,
        "patch_size": 16,
        "head_width": 8,
    },
    "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def tiny_weights() -> dict[str, Tensor]:
    import open_clip

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return open_clip.CLIP(**TINY).state_dict()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tiny_weights: dict[str, Tensor]) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    folder.mkdir()
    config = {"model_cfg": TINY, "weights_name": "tiny (random, for tests)"}
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    save_file(tiny_weights, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch) -> str:
    """The same model among those that open_clip knows by name."""
    from open_clip import factory

    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", TINY)
    return "tiny"


@pytest.fixture(scope="session")
def pictures() -> Callable[[int], list[Image.Image]]:
    """Noise of several sizes."""

    def draw(count: int) -> list[Image.Image]:
        noise = np.random.default_rng(0)
        sizes = [(30 + 5 * (number % 4), 40, 3) for number in range(count)]
        return [Image.fromarray(noise.integers(0, 256, size, dtype=np.uint8)) for size in sizes]

    return draw
