"""A small run, trained once by the command line; and `addkit` as a function."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from addkit.cli.main import main

ROOT = Path(__file__).parents[3]
SMALL = (
    "encoder.widths=[8, 16]",
    "encoder.blocks=1",
    "denoiser.width=16",
    "denoiser.depth=1",
    "training.epochs=2",
    "training.lr=1e-2",
    "training.ema=0.9",
    "training.warmup_epochs=0.2",
    'control.heads=["linear", "mlp"]',
)


@pytest.fixture(scope="session")
def recipes() -> Path:
    return ROOT / "recipes"


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory, recipes: Path) -> Path:
    """A finished run with both controls."""
    folder = tmp_path_factory.mktemp("shared") / "digits"
    overrides = [word for override in SMALL for word in ("--set", override)]
    words = [
        "train",
        str(recipes / "digits.toml"),
        "--run-dir",
        str(folder),
        "--no-report",
        *overrides,
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["addkit", "--quiet", *words])
        patch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return folder
