"""`addkit train` of a tiny recipe as its own process, and what can be seen of it from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from addkit.runs.checkpoint import load_tensors
from addkit.runs.checkpoint_files import checkpoint_of

RECIPE = Path(__file__).parents[2] / "recipes" / "digits.toml"
SETS = [
    word
    for change in (
        *("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=12", "training.evaluate_every=100", "checkpoints.every=1"),
        "control.heads=[]",
    )
    for word in ("--set", change)
]
STEPS = 12 * 19
PATIENCE = 120
"""Seconds; reached by nothing that goes well."""


def start(server: Any, run: Path, *words: str, torchrun: tuple[str, ...] = ()) -> Any:
    """`addkit train`, its output in files; by `torchrun` with these options, if there are any."""
    train = ["train", str(RECIPE), "--json", "--run-dir", str(run), *SETS, *words]
    before = ("torch.distributed.run", *torchrun, "-m") if torchrun else ()
    return server.start(*before, "addkit", *train, cwd=run.parent)


def ended(process: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, out, err


def until(happened: Callable[[], bool], process: Any = None) -> None:
    """Wait for it, but not for ever, nor for a process that has ended."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        if process is not None and process.poll() is not None:
            raise AssertionError(process.communicate())
        time.sleep(0.02)


def steps(run: Path) -> int:
    """Taken so far."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return max((entry["step"] for entry in told), default=0)


def trained_beyond(run: Path, step: int, process: Any) -> None:
    """Wait until the run has taken more than so many steps."""
    until(lambda: steps(run) > step, process)


def stored(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the newest checkpoint."""
    checkpoint = checkpoint_of(run / "checkpoints")
    assert checkpoint is not None
    return {
        f"{file.stem}: {name}": tensor.clone()
        for file in sorted(checkpoint.glob("*.safetensors"))
        for name, tensor in load_tensors(file).items()
    }


def workers(agent: int) -> dict[int, int]:
    """Rank -> process id of an agent's children."""
    files = Path(f"/proc/{agent}/task").glob("*/children")
    children = [int(pid) for file in files for pid in file.read_text().split()]
    return {rank: pid for pid in children if (rank := _rank(pid)) is not None}


def _rank(pid: int) -> int | None:
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((int(word[5:]) for word in words if word.startswith(b"RANK=")), None)
