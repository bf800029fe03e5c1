from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from addkit.training.callbacks import Profiler
from addkit.training.trainer import Callback


class Listener(Callback):
    """Keeps the paths it is given."""

    def __init__(self) -> None:
        self.files: list[Path] = []

    def profiled(self, trainer: Any, files: Any) -> None:
        self.files += files


def trained(folder: Path, profiler: Profiler, steps: int, planned: int | None = None) -> list[Path]:
    """Steps whose products have the sizes 1, 2, 3, ...; then products that no step made."""
    listener = Listener()
    trainer: Any = SimpleNamespace(
        run=SimpleNamespace(path=folder),
        plan=SimpleNamespace(steps=planned or steps),
        progress=SimpleNamespace(step=0),
        world=SimpleNamespace(is_main=True),
        callbacks=[listener],
    )
    profiler.begin(trainer)
    for size in range(1, steps + 1):
        matrix = torch.ones(size, size)
        matrix @ matrix
        profiler.step(trainer, SimpleNamespace(step=size))  # type: ignore[arg-type]
    if planned is None:
        torch.ones(9, 9) @ torch.ones(9, 9)
    profiler.end(trainer)
    return listener.files


def products(trace: Path) -> int:
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return sum(event.get("name") == "aten::mm" for event in events)


@pytest.mark.parametrize(
    ("steps", "first", "length", "seen"), [(6, 3, 2, 2), (4, 1, 2, 2), (4, 3, 9, 2), (2, 9, 5, 1)]
)
def test_a_profile_has_its_steps_alone(
    tmp_path: Path, steps: int, first: int, length: int, seen: int
) -> None:
    """The third case ends within its steps; the last has fewer than the first one asked for."""
    files = trained(tmp_path, Profiler(first, length), steps)
    names = [str(path.relative_to(tmp_path)) for path in files]
    assert names == ["profile/trace-rank0.json.gz", "profile/operators.txt"]
    assert products(files[0]) == seen
    assert "aten::mm" in files[1].read_text()


def test_a_training_that_fails_before_leaves_nothing(tmp_path: Path) -> None:
    assert trained(tmp_path, Profiler(first_step=5), 2, planned=9) == []
    assert list(tmp_path.iterdir()) == []


def test_a_finished_training_and_other_ranks_are_not_profiled(tmp_path: Path) -> None:
    for step, is_main in ((4, True), (0, False)):
        trainer: Any = SimpleNamespace(
            run=SimpleNamespace(path=tmp_path),
            plan=SimpleNamespace(steps=4),
            progress=SimpleNamespace(step=step),
            world=SimpleNamespace(is_main=is_main),
            callbacks=[],
        )
        profiler = Profiler()
        profiler.begin(trainer)
        profiler.end(trainer)
        assert profiler.paths == ()
