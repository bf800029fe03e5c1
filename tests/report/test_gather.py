from __future__ import annotations

from pathlib import Path

import pytest

from addkit.errors import RunError
from addkit.evaluation.results import Score
from addkit.report.run_files import (
    NotShownError,
    RunFiles,
    accuracies,
    losses,
    step_curves,
    stored_reliabilities,
)

from .made import evaluated, made_run, row, uncertainty


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = made_run(tmp_path / "run")
    made_run(path / "controls" / "linear", value=70.0)
    return path


def test_figure_3_has_a_line_for_each_model_to_the_end_of_training(run: Path) -> None:
    found = accuracies(RunFiles.open(run))
    assert found.score == "top-1, % (test split)"
    assert [line.name for line in found.lines] == ["ADD", "control, linear"]
    assert found.lines[0].x == (1, 2, 3, 4)
    assert found.lines[1].y == (67, 68, 69, 70)


def test_test_scores_do_not_end_a_line_of_the_validation_split(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", split="validation", score="exact_match", value=0.5)
    found = accuracies(RunFiles.open(path))
    assert found.score == "exact match, % (validation split)"
    assert found.lines[0].x == (1, 2, 3)


def test_one_scored_epoch_is_no_curve(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", epochs=2, split="validation")
    with pytest.raises(NotShownError, match=r"fewer than two epochs .*evaluate_every=1`"):
        accuracies(RunFiles.open(path))


def test_losses_are_means_over_as_many_steps(tmp_path: Path) -> None:
    path = made_run(tmp_path / "run", epochs=30)
    (panel,) = losses(RunFiles.open(path))
    (line,) = panel.lines
    assert panel.kind == "ce"
    assert len(line.x) == 60
    assert line.x[0] == 3  # the mean of steps 1 to 5
    assert line.y[0] == pytest.approx(sum(10 / step for step in range(1, 6)) / 5)


def test_losses_of_two_kinds_have_a_panel_each(run: Path) -> None:
    made_run(run / "controls" / "mlp", loss="mse")
    panels = losses(RunFiles.open(run))
    names = {panel.kind: [line.name for line in panel.lines] for panel in panels}
    assert names == {"ce": ["ADD", "control, linear"], "mse": ["control, mlp"]}


def test_no_step_no_loss(run: Path) -> None:
    for file in run.rglob("metrics.jsonl"):
        file.unlink()
    with pytest.raises(NotShownError, match=r"no training step; `addkit train RECIPE`"):
        losses(RunFiles.open(run))


def test_figure_5_groups_rows_by_how_they_were_made(run: Path) -> None:
    rows = [row(5, 80.0), row(1, 70.0), row(1, 60.0, guidance=2.0), row(5, 61.0, guidance=2.0)]
    rows += [row(n, 90.0, read_out="one-pass", sampler=None) for n in (1, 5)]
    rows += [row(5, 1.0, read_out="vote")]
    evaluated(run, rows, controls=[row(5, 50.0, model_name="control, linear")])
    found = step_curves(RunFiles.open(run))
    first, second = found.lines
    assert (first.name, second.name) == ("last, w 1", "last, w 2")
    assert (first.x, first.y) == ((1, 5), (70, 80))
    assert (first.low[0], first.high[0]) == Score.named("top1").interval(70.0, 100)
    assert [(level.name, level.y) for level in found.levels] == [
        ("one-pass, one pass", 90.0),
        ("control, linear", 50.0),
    ]


def test_one_chain_length_is_no_curve(run: Path) -> None:
    files = RunFiles.open(run)
    command = f"`addkit evaluate --run {run} --steps 1,2,5,10,20 --read-out one-pass,last`"
    with pytest.raises(NotShownError, match=rf"not evaluated yet; {command}"):
        step_curves(files)
    evaluated(run, [row(5, 80.0), row(5, 80.0, guidance=2.0)])
    with pytest.raises(NotShownError, match=rf"one chain length; {command}"):
        step_curves(RunFiles.open(run))


def test_stored_reliability_leaves_out_empty_bins_and_scaled_rows(run: Path) -> None:
    assert stored_reliabilities(RunFiles.open(run)) == []
    bins = [
        {"count": 0, "confidence": None, "accuracy": None},
        {"count": 10, "confidence": 0.9, "accuracy": 0.8},
    ]
    stored = {"confidence": "vote share", "scaled": False, "ece": 10.0, "reliability": bins}
    evaluated(run, [], uncertainty=uncertainty(stored, {**stored, "scaled": True}))
    (found,) = stored_reliabilities(RunFiles.open(run))
    (only,) = found.bins
    assert (found.name, only.confidence, only.right, only.count) == ("vote share", 0.9, 0.8, 10)
    assert only.low < 0.8 < only.high


@pytest.mark.parametrize(("text", "fault"), [("{", "cannot be read"), ("{}", "earlier addkit")])
def test_a_broken_evaluation_is_named(run: Path, text: str, fault: str) -> None:
    (run / "evaluation.json").write_text(text)
    with pytest.raises(RunError, match=rf"evaluation.json.*{fault}"):
        step_curves(RunFiles.open(run))
