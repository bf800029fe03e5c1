"""An ablation that is killed while a worker trains."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from addkit.ablation import Store, ablate, plan
from addkit.recipe import Recipe, read_recipe
from addkit.runs import Run

SMALL = ("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16")


def test_killed_and_started_again(
    small: Recipe, tmp_path: Path, workers_here: Any, view: Any
) -> None:
    """A killed ablation takes its worker with it; the next one goes on with that training."""
    recipe = read_recipe(small.source, [*SMALL, "training.epochs=8", "checkpoints.every=1"])
    wanted = plan(recipe, [("", ("loss.name=weighted-ce",))], seeds=1)
    with warnings.catch_warnings():  # Python 3.12 on warns where there are threads
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            ablate(wanted, Store(tmp_path), view)
        finally:
            os._exit(1)
    begun = _wait_for(tmp_path, "trained/*/checkpoints/step-0000001*").parents[1]
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    _until(lambda: not Path(f"/proc/{worker}/exe").exists(), "end of the worker")
    assert not Run(begun).finished
    with workers_here() as again:
        result = ablate(wanted, Store(tmp_path), again)
    assert (result.train_runs, result.trained_now) == (2, 2)
    assert result.arms[0].difference is not None
    assert begun == Path(result.base.runs[0])
    steps = [line["step"] for line in Run(begun).metrics() if "loss" in line]
    assert steps == sorted(set(steps))
    assert len(steps) == Run(begun).manifest().steps


def _wait_for(folder: Path, pattern: str) -> Path:
    """The first file of that name."""
    _until(lambda: any(folder.glob(pattern)), pattern)
    return next(folder.glob(pattern))


def _until(happened: Callable[[], bool], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"no {what}"
        time.sleep(0.02)
