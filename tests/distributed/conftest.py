"""Every case of lab.py, run once in one process that forks; commands that are stopped."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

LAB = Path(__file__).with_name("lab.py")

DIGITS = (
    *("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
    *("training.epochs=2", "training.warmup_epochs=0.5", "control.heads=[]"),
)
CAPTIONS = (
    *("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
    *("denoiser.heads=2", "data.image_size=16", "training.epochs=1", "training.batch_size=16"),
    *("control.heads=[]", "distributed.per_process_batch=8", "training.warmup_epochs=0"),
)
WHOLE, HALF = 21, 10
"""Steps of a training, and where it is interrupted: before the end of the first epoch."""


def _case(name: str, processes: int, *changes: str, **more: Any) -> dict[str, Any]:
    base = {"work": "train", "recipe": "digits", "run": name, "until": WHOLE, "split": None}
    recipe = {**base, **more}["recipe"]
    small = CAPTIONS if recipe == "emoji" else DIGITS
    words = [*small, *changes]
    return {**base, "name": name, "processes": processes, "changes": words, **more}


def _resumed(name: str, first: int, then: int, *changes: str) -> list[dict[str, Any]]:
    run = f"{name}-{first}-to-{then}"
    return [
        _case(f"{run}-begun", first, *changes, run=run, until=HALF),
        _case(run, then, *changes, run=run),
    ]


FSDP = "distributed.strategy=fsdp"
QUARTERS = "distributed.per_process_batch=16"
STOP_EARLY = (
    *("data.validation=0.2", "training.epochs=4", "training.evaluate_every=1"),
    *("training.patience=1", "training.lr=0.05", "training.ema=0"),
)
CASES = [
    _case("talk", 2, work="talk"),
    _case("leave", 2, work="leave"),
    _case("interrupt", 2, work="interrupt"),
    *(_case(f"ddp-{size}", size, split="test") for size in (1, 2)),
    *(_case(f"fsdp-{size}", size, FSDP, split="test") for size in (1, 2)),
    *(_case(f"quarters-{size}", size, QUARTERS, until=12) for size in (1, 2, 4)),
    *(_case(f"warped-{size}", size, "timesteps.name=warped", until=12) for size in (1, 2)),
    *(_case(f"captions-{size}", size, recipe="emoji", until=6) for size in (1, 2)),
    *(_case(f"stop-early-{size}", size, *STOP_EARLY, work="stop-early") for size in (1, 2)),
    *_resumed("ddp", 2, 1),
    *_resumed("ddp", 1, 2),
    *_resumed("fsdp", 2, 1, FSDP),
    *_resumed("fsdp", 1, 2, FSDP),
]


@pytest.fixture(scope="session")
def commands() -> Any:
    """commands.py, whose folder is no package."""
    file = Path(__file__).with_name("commands.py")
    spec = importlib.util.spec_from_file_location("commands", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory, commands: Any, fork_server: Any) -> Path:
    """A run of one process that nobody stops; two take the same bits."""
    run: Path = tmp_path_factory.mktemp("straight") / "run"
    code, _, err = commands.ended(commands.start(fork_server, run))
    assert code == 0, err
    return run


@pytest.fixture(scope="session")
def same() -> Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]:
    """The same names and, to the bit, the same numbers."""

    def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)

    return equal


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port: int = taken.getsockname()[1]
        return port


Told = dict[tuple[str, int], dict[str, Any]]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, fork_server: Any) -> Told:
    """(case, rank) -> what that process saw."""
    out = tmp_path_factory.mktemp("distributed")
    (out / "cases.json").write_text(json.dumps(CASES))
    lab = fork_server.start(str(LAB), out, out / "cases.json", cwd=out)
    _, err = lab.communicate(timeout=400)
    assert lab.returncode == 0, err
    files = {tuple(file.stem.rsplit("-", 1)): file for file in out.glob("*.pt")}
    return {(name, int(rank)): torch.load(file) for (name, rank), file in files.items()}
