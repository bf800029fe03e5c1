from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from addkit.errors import AddkitWarning, RunError
from addkit.runs import Run
from addkit.runs.checkpoint_files import checkpoint_of
from addkit.training.train import train
from addkit.training.trainer import Callback, Trainer

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]

RICH = (
    "augmentation.mixup=0.5",
    "augmentation.flip=0.5",
    "denoiser.dropout=0.1",
    "data.sampling='balanced'",
    "loss.class_weights=0.5",
    "distributed.per_process_batch=32",
)
"""Everything that draws random numbers."""


def _reopened(trainer: Trainer) -> Trainer:
    return Trainer.open(Run(trainer.run.path), trainer.run.recipe(), "cpu")


@pytest.mark.parametrize("changes", [(), RICH], ids=["plain", "rich"])
@pytest.mark.parametrize("stop", [19, 20, 37])
def test_a_resumed_run_ends_in_the_same_bits(
    lab: Any, same: Same, changes: tuple[str, ...], stop: int
) -> None:
    straight = lab.open("straight", *changes)
    whole = lab.fit(straight)
    killed = lab.open("killed", *changes)
    lab.fit(killed, stop_after=stop)
    torch.rand(11)
    again = _reopened(killed)
    # The checkpoint of the first epoch comes after its last step.
    assert again.progress.step == (0 if stop == 19 else 19)
    rest = lab.fit(again)
    assert [r.loss for r in rest.reports] == [r.loss for r in whole.reports[-len(rest.reports) :]]
    stored = lab.stored(straight.run.path)
    assert {name.split(":")[0] for name in stored} == {"raw", "ema", "optimizer"}
    assert same(stored, lab.stored(killed.run.path))


def test_a_run_can_go_on_within_an_epoch(lab: Any, same: Same) -> None:
    straight = lab.open("straight")
    lab.fit(straight)
    killed = lab.open("killed")
    lab.fit(killed, stop_after=25)
    killed.save(wait=True)
    again = _reopened(killed)
    assert again.progress.step == 25
    lab.fit(again)
    assert same(lab.stored(straight.run.path), lab.stored(killed.run.path))


def test_the_average_goes_on_where_it_was(lab: Any) -> None:
    trainer = lab.open("run")
    lab.fit(trainer, stop_after=25)
    trainer.save(wait=True)
    again = _reopened(trainer)
    averages = [one.engine.average for one in (trainer, again)]
    assert [int(average.n_averaged) for average in averages] == [25, 25]


def test_metrics_of_lost_steps_are_forgotten(lab: Any) -> None:
    trainer = lab.open("run")
    recorder = lab.Recorder(stop_after=30)
    recorder.epoch = lambda trainer, epoch: trainer.run.log(
        {"step": trainer.progress.step, "epoch": epoch}
    )
    step = recorder.step
    recorder.step = lambda trainer, report: (
        trainer.run.log({"step": report.step}),
        step(trainer, report),
    )
    with pytest.raises(lab.Stop):
        trainer.fit([recorder])
    with (trainer.run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3')
    assert [entry["step"] for entry in trainer.run.metrics()] == [*range(1, 20), 19, *range(20, 31)]
    again = _reopened(trainer)
    assert [entry["step"] for entry in again.run.metrics()] == [*range(1, 20), 19]


def test_what_a_killed_writer_left_is_cleaned(lab: Any) -> None:
    trainer = lab.open("run")
    (trainer.run.checkpoints / ".step-00000019.1.tmp").mkdir()
    (trainer.run.path / ".manifest.json.1.tmp").write_text("{")
    _reopened(trainer)
    assert not [*trainer.run.path.glob(".*"), *trainer.run.checkpoints.glob(".*")]


def test_a_checkpoint_that_the_pointer_has_not_reached_is_written_again(
    lab: Any, same: Same
) -> None:
    trainer = lab.open("run")
    lab.fit(trainer)
    whole = lab.stored(trainer.run.path)
    folder = trainer.run.checkpoints
    (folder / "latest").write_text("step-00000019\n")
    (folder / "step-00000038" / "raw.safetensors").write_bytes(b"half")
    lab.fit(_reopened(trainer))
    assert checkpoint_of(folder) == folder / "step-00000038"
    assert same(lab.stored(trainer.run.path), whole)


@pytest.mark.parametrize("name", ["raw", "ema", "optimizer"])
def test_a_broken_checkpoint_is_named_and_the_one_before_is_used(lab: Any, name: str) -> None:
    trainer = lab.open("run")
    lab.fit(trainer)
    assert trainer.saved is not None
    file = trainer.saved / f"{name}.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.warns(AddkitWarning, match=rf"{name}\.safetensors: truncated: "):
        assert _reopened(trainer).progress.step == 19
    (trainer.run.checkpoints / "latest").write_text("step-00000038\n")
    flipped = bytearray(whole)
    flipped[-50] ^= 4
    file.write_bytes(flipped)
    with pytest.warns(AddkitWarning, match=rf"{name}\.safetensors: altered: "):
        assert _reopened(trainer).progress.step == 19


@pytest.mark.parametrize("name", ["raw", "ema", "optimizer"])
def test_another_networks_checkpoint_is_named(lab: Any, name: str) -> None:
    trainer = lab.open("run")
    lab.fit(trainer, stop_after=20)
    assert trainer.saved is not None
    # As an old version of addkit left it: without checksums.
    (trainer.saved / "checksums.json").unlink()
    save_file({"w|exp_avg": torch.zeros(2)}, trainer.saved / f"{name}.safetensors")
    with pytest.raises(RunError, match=rf"{name}\.safetensors: does not fit the run's recipe"):
        _reopened(trainer)


class Interrupted(Callback):
    """Ends the process where the training of some name begins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[str, int]] = []

    def begin(self, trainer: Trainer) -> None:
        self.seen.append((trainer.name, trainer.progress.step))
        if trainer.name.startswith(self.name):
            raise KeyboardInterrupt


def test_a_run_is_finished_once_its_controls_are(lab: Any) -> None:
    heads = 'control.heads=["linear", "mlp"]'
    run = lab.open("run", "training.epochs=1", heads).run
    view = Interrupted("control, linear")
    with pytest.raises(KeyboardInterrupt):
        train(run.recipe(), run, [view], device="cpu")
    assert view.seen == [("ADD", 0), ("control, linear", 0)]
    assert not run.finished
    scores = run.manifest().scores

    view = Interrupted("control, mlp")
    with pytest.raises(KeyboardInterrupt):
        train(run.recipe(), run, [view], device="cpu")
    assert view.seen == [("control, linear", 0), ("control, mlp", 0)]
    assert not run.finished
    assert list(run.controls()) == ["linear"]

    view = Interrupted("nothing")
    result = train(run.recipe(), run, [view], device="cpu")
    assert view.seen == [("control, mlp", 0)]
    assert run.finished
    assert result.scores == scores
    assert list(result.controls) == ["linear", "mlp"]


def test_a_finished_run_trains_nothing_again(digits_run: Path) -> None:
    run = Run(digits_run)
    view = Interrupted("")
    result = train(run.recipe(), run, [view], device="cpu")
    assert view.seen == []
    assert result.value == run.manifest().scores["ema"]["top1"]
    assert result.seconds < 1
