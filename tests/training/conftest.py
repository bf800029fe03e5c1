"""Trainings that are opened but not run, and somebody who looks on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from addkit.training.trainer import Callback, StepReport, Trainer

SMALL = (
    "encoder.widths=[8, 16]",
    "encoder.blocks=1",
    "denoiser.width=16",
    "denoiser.depth=1",
    "training.epochs=2",
    "checkpoints.every=1",
    "distributed.per_process_batch=64",
    "control.heads=[]",
)


class Stop(Exception):  # noqa: N818
    """Stands for whatever ends a process."""


class Recorder(Callback):
    """Keeps the reports; raises `Stop` after a step, if asked to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.reports: list[StepReport] = []
        self.epochs: list[int] = []
        self.stop_after = stop_after

    def step(self, trainer: Trainer, report: StepReport) -> None:
        self.reports.append(report)
        if report.step == self.stop_after:
            raise Stop

    def epoch(self, trainer: Trainer, epoch: int) -> None:
        self.epochs.append(epoch)


class Lab:
    """Opens jobs of small digits recipes, each in a folder of its own name."""

    Stop = Stop
    Recorder = Recorder

    def __init__(self, recipe: Path, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder

    def open(self, name: str, *overrides: str, small: tuple[str, ...] = SMALL) -> Trainer:
        from addkit.model import build_data
        from addkit.recipe import read_recipe
        from addkit.runs import Run

        recipe = read_recipe(self.recipe, [*small, *overrides])
        run = Run.create(self.folder / name, recipe, build_data(recipe).facts)
        return Trainer.open(run, recipe, "cpu")

    def fit(self, trainer: Trainer, stop_after: int | None = None) -> Recorder:
        recorder = Recorder(stop_after)
        if stop_after is None:
            trainer.fit([recorder])
        else:
            with pytest.raises(Stop):
                trainer.fit([recorder])
        trainer.writer.wait()
        return recorder

    def stored(self, path: Path) -> dict[str, torch.Tensor]:
        """Everything in the newest checkpoint of a run."""
        from addkit.runs import Run
        from addkit.runs.checkpoint import load_tensors
        from addkit.runs.checkpoint_files import checkpoint_of

        checkpoint = checkpoint_of(Run(path).checkpoints)
        assert checkpoint is not None
        return {
            f"{file.stem}: {name}": tensor.clone()  # what is loaded still lies in the file
            for file in sorted(checkpoint.glob("*.safetensors"))
            for name, tensor in load_tensors(file).items()
        }


@pytest.fixture
def lab(recipes: Path, tmp_path: Path) -> Lab:
    return Lab(recipes / "digits.toml", tmp_path)


@pytest.fixture(scope="session")
def same() -> Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]:
    """The same names and, to the bit, the same numbers."""

    def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)

    return equal
