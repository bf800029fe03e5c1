"""What a training leaves behind on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addkit.runs.checkpoint_files import pointed_at
from addkit.trackers.safe import SafeTracker
from addkit.training import recorder
from addkit.training.loop import fit
from addkit.training.recorder import Recorder
from addkit.training.view import View

EACH = ("training.evaluate_every=1", "training.epochs=3", "training.lr=1e-2")
VALIDATED = (*EACH, "data.validation=0.2")


def _recorder(job: Any) -> Recorder:
    return Recorder(job, View(), SafeTracker("none", None))


def _scored(job: Any) -> list[dict[str, Any]]:
    return [entry for entry in job.run.metrics() if "split" in entry]


def test_the_best_checkpoint_is_chosen_on_the_validation_split(lab: Any) -> None:
    job = lab.open("run", *VALIDATED)
    fit(job, _recorder(job))
    job.writer.wait()
    told = _scored(job)
    assert {entry["split"] for entry in told} == {"validation"}
    best = max(told, key=lambda entry: (entry["top1"], -entry["step"]))
    assert (
        pointed_at(job.run.checkpoints, "best") == job.run.checkpoints / f"step-{best['step']:08d}"
    )


def test_the_test_split_chooses_nothing(lab: Any) -> None:
    job = lab.open("run", *EACH)
    fit(job, _recorder(job))
    job.writer.wait()
    # The last scores are the run's own.
    assert [(e["split"], e["epoch"]) for e in _scored(job)] == [("test", 1), ("test", 2)]
    assert pointed_at(job.run.checkpoints, "best") is None


def test_an_evaluation_that_a_kill_prevented_is_made_up(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = lab.open("straight", *VALIDATED)
    fit(straight, _recorder(straight))
    job = lab.open("killed", *VALIDATED)
    with monkeypatch.context() as patch:

        def die(*_: Any, **__: Any) -> Any:
            raise lab.Stop

        patch.setattr(recorder, "meters_of", die)
        with pytest.raises(lab.Stop):
            fit(job, _recorder(job))
    job.close()
    assert _scored(job) == []
    again = lab.open("killed", *VALIDATED)
    assert again.progress.step == straight.plan.steps_per_epoch
    fit(again, _recorder(again))
    assert _scored(again) == _scored(straight)


def test_a_mark_that_a_kill_prevented_is_made_up(lab: Any) -> None:
    job = lab.open("run", *VALIDATED, "training.epochs=1")
    fit(job, _recorder(job))
    job.close()
    pointer: Path = job.run.checkpoints / "best"
    text = pointer.read_text()
    pointer.unlink()
    again = lab.open("run", *VALIDATED, "training.epochs=1")
    _recorder(again)
    again.close()
    assert pointer.read_text() == text


def test_a_line_of_losses_by_time_for_each_epoch(lab: Any) -> None:
    job = lab.open("run", *EACH)
    fit(job, _recorder(job))
    lines = [entry for entry in job.run.metrics() if "loss_by_time" in entry]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 19), (2, 38), (3, 57)]
    assert all("T" in line["loss_by_time"] for line in lines)


@pytest.mark.parametrize("peak", [None, 1e12])
def test_mfu_is_told_only_where_the_peak_is_known(
    lab: Any, monkeypatch: pytest.MonkeyPatch, peak: float | None
) -> None:
    monkeypatch.setattr(recorder, "peak_flops", lambda *_: peak)
    job = lab.open("run", "training.epochs=1", "training.evaluate_every=9")
    fit(job, _recorder(job))
    lines = [entry for entry in job.run.metrics() if "loss" in entry]
    assert len(lines) == 19
    assert all(("mfu" in line) == (peak is not None) for line in lines)
    assert all(0 < line.get("mfu", 0.5) < 1 for line in lines)
