"""What a training leaves behind on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addkit.runs.checkpoint_files import pointed_at
from addkit.training import callbacks
from addkit.training.callbacks import Metrics

EACH = ("training.evaluate_every=1", "training.epochs=3", "training.lr=1e-2")
VALIDATED = (*EACH, "data.validation=0.2")


def _scored(trainer: Any) -> list[dict[str, Any]]:
    return [entry for entry in trainer.run.metrics() if "split" in entry]


def test_the_best_checkpoint_is_chosen_on_the_validation_split(lab: Any) -> None:
    trainer = lab.open("run", *VALIDATED)
    trainer.fit([Metrics()])
    trainer.writer.wait()
    told = _scored(trainer)
    assert {entry["split"] for entry in told} == {"validation"}
    best = max(told, key=lambda entry: (entry["top1"], entry["step"]))
    assert (
        pointed_at(trainer.run.checkpoints, "best")
        == trainer.run.checkpoints / f"step-{best['step']:08d}"
    )


def test_the_test_split_chooses_nothing(lab: Any) -> None:
    trainer = lab.open("run", *EACH)
    trainer.fit([Metrics()])
    trainer.writer.wait()
    # The last scores are the run's own.
    assert [(e["split"], e["epoch"]) for e in _scored(trainer)] == [("test", 1), ("test", 2)]
    assert pointed_at(trainer.run.checkpoints, "best") is None


def test_an_evaluation_that_a_kill_prevented_is_made_up(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = lab.open("straight", *VALIDATED)
    straight.fit([Metrics()])
    trainer = lab.open("killed", *VALIDATED)
    with monkeypatch.context() as patch:

        def die(*_: Any, **__: Any) -> Any:
            raise lab.Stop

        patch.setattr(callbacks, "meters_of", die)
        with pytest.raises(lab.Stop):
            trainer.fit([Metrics()])
    trainer.close()
    assert _scored(trainer) == []
    again = lab.open("killed", *VALIDATED)
    assert again.progress.step == straight.plan.steps_per_epoch
    again.fit([Metrics()])
    assert _scored(again) == _scored(straight)


def test_a_mark_that_a_kill_prevented_is_made_up(lab: Any) -> None:
    trainer = lab.open("run", *VALIDATED, "training.epochs=1")
    trainer.fit([Metrics()])
    trainer.close()
    pointer: Path = trainer.run.checkpoints / "best"
    text = pointer.read_text()
    pointer.unlink()
    again = lab.open("run", *VALIDATED, "training.epochs=1")
    again.fit([Metrics()])
    again.close()
    assert pointer.read_text() == text


def test_a_line_of_losses_by_time_for_each_epoch(lab: Any) -> None:
    trainer = lab.open("run", *EACH)
    trainer.fit([Metrics()])
    lines = [entry for entry in trainer.run.metrics() if "loss_by_time" in entry]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 19), (2, 38), (3, 57)]
    assert all("T" in line["loss_by_time"] for line in lines)


@pytest.mark.parametrize("peak", [None, 1e12])
def test_mfu_is_told_only_where_the_peak_is_known(
    lab: Any, monkeypatch: pytest.MonkeyPatch, peak: float | None
) -> None:
    monkeypatch.setattr(callbacks, "peak_flops", lambda *_: peak)
    trainer = lab.open("run", "training.epochs=1", "training.evaluate_every=9")
    trainer.fit([Metrics()])
    lines = [entry for entry in trainer.run.metrics() if "loss" in entry]
    assert len(lines) == 19
    assert all(("mfu" in line) == (peak is not None) for line in lines)
    assert all(0 < line.get("mfu", 0.5) < 1 for line in lines)


def test_scores_on_the_way_are_of_the_averaged_weights_where_they_are_due(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = lab.open("run", "training.evaluate_every=2", "training.epochs=5", "training.ema=0.9")
    scored, evaluator = [], callbacks._evaluator
    monkeypatch.setattr(
        callbacks, "_evaluator", lambda *words: scored.append(words[1]) or evaluator(*words)
    )
    trainer.fit([Metrics()])
    trainer.close()
    assert [entry["epoch"] for entry in _scored(trainer)] == [2, 4]
    average = trainer.engine.networks()["ema"]
    assert len(scored) == 2
    assert all(network is average for network in scored)


def test_the_rate_is_in_images_a_second(lab: Any) -> None:
    trainer, recorder = lab.open("run", "training.epochs=1"), lab.Recorder()
    trainer.fit([Metrics(), recorder])
    trainer.close()
    lines = [line for line in trainer.run.metrics() if "images_per_second" in line]
    wanted = [report.images / report.seconds for report in recorder.reports]
    assert [line["images_per_second"] for line in lines] == pytest.approx(wanted)
