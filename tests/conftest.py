"""What many tests share: the command line in this process, and small runs that are trained once."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.errors import AddkitWarning
from addkit.plugin.selection import FILES, ONLY, REPORTED_BY, STRICT, WITHOUT

from .fork_server import ForkServer

# Under nohup SIGHUP is ignored, and addkit respects that; tests of signals send it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).parents[1]

SMALL = (
    "encoder.widths=[8, 16]",
    "encoder.blocks=1",
    "denoiser.width=16",
    "denoiser.depth=1",
    "training.epochs=2",
    "training.evaluate_every=1",
    "checkpoints.every=1",
)
"""Overrides of digits.toml after which an epoch takes a tenth of a second."""


LONGEST = ("distributed", "training", "ablation", "cli", "diffusion", "planning", "report")
"""Folders whose files take long, the longest first."""


def pytest_configure(config: pytest.Config) -> None:
    """Have xdist hand out files in the order below, not by their number of tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: short ones fill up the end, when a worker would have nothing to do."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Said]
Trained = Callable[..., Path]


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So that nothing is left in the home of whoever runs the tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> None:
    """Neither the machine's variables nor those that an earlier test set change a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    for name in (ONLY, WITHOUT, FILES, STRICT):
        # Options of a command line set these for the process. `setenv` first, also of a variable
        # that is absent: only then does monkeypatch take away what the test adds.
        present = name in os.environ
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if not present:
            monkeypatch.delenv(name)
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "ADDKIT_DEBUG", REPORTED_BY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(scope="session")
def recipes() -> Path:
    return ROOT / "recipes"


@pytest.fixture
def addkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Cli:
    """The `addkit` command, run in this process with tmp_path as the working directory."""
    from addkit.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*words: object, stdin: bytes = b"") -> Said:
        if words[:1] == ("train",) and "--report" not in words:
            words = (*words, "--no-report")  # A page takes longer than most trainings here.
        monkeypatch.setattr(sys, "argv", ["addkit", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with warnings.catch_warnings():  # main() tells warnings its own way
            warnings.simplefilter("always", AddkitWarning)
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Starts commands as processes of their own, without their imports."""
    server = ForkServer(tmp_path_factory.mktemp("forked"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def trained(recipes: Path) -> Trained:
    """Trains digits.toml, made small, with overrides, into a folder; gives the folder back."""

    def fit(path: Path, *overrides: str) -> Path:
        from addkit.model import build_data
        from addkit.recipe import read_recipe
        from addkit.runs import Run
        from addkit.training.train import train

        other_encoder = any(override.startswith("encoder.name=") for override in overrides)
        small = [one for one in SMALL if not (other_encoder and one.startswith("encoder."))]
        recipe = read_recipe(recipes / "digits.toml", [*small, *overrides])
        run = Run.create(path, recipe, build_data(recipe).facts)
        train(recipe, run, device="cpu")
        return path

    return fit


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """A finished run with both controls. Tests that change it work on a copy."""
    folder = tmp_path_factory.mktemp("shared") / "digits"
    quick = ("training.lr=1e-2", "training.ema=0.9", "training.warmup_epochs=0.2")
    return trained(folder, 'control.heads=["linear", "mlp"]', *quick)


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Names of the ten classes, whose order is not that of the alphabet."""


@pytest.fixture(scope="session")
def worded_run(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits_run` with `WORDS` as the names of its classes."""
    run = shutil.copytree(digits_run, tmp_path_factory.mktemp("shared") / "worded")
    for file in run.rglob("facts.json"):
        facts = {**json.loads(file.read_text("utf-8")), "class_names": WORDS}
        facts.pop("sha256", None)  # It was changed on purpose.
        file.write_text(json.dumps(facts), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def digit_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three digits of the test split as PNG files."""
    from PIL import Image

    from addkit.data.digits import Digits
    from addkit.data.settings import DigitsConfig

    source = Digits(DigitsConfig.model_validate({}))
    batch = source.split("test").batch([0, 100, 500], None)
    folder = tmp_path_factory.mktemp("images")
    pixels = (batch.images * source.facts.std[0] + source.facts.mean[0]) * 255
    paths = [folder / f"digit-{number}.png" for number in range(len(pixels))]
    for path, image in zip(paths, pixels.round().byte().squeeze(1), strict=True):
        Image.fromarray(image.numpy()).save(path)
    return paths


@pytest.fixture(scope="session")
def ks() -> Callable[[Tensor, Tensor], float]:
    """The two-sample Kolmogorov-Smirnov statistic over its 0.1 % critical value: above 1 fails."""

    def statistic(first: Tensor, second: Tensor) -> float:
        n, m = len(first), len(second)
        both = torch.cat([first, second]).sort().values
        one, other = (
            torch.searchsorted(x.sort().values, both, right=True) / len(x) for x in (first, second)
        )
        return float((one - other).abs().max()) / (1.95 * math.sqrt((n + m) / (n * m)))

    return statistic
