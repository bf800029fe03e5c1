"""The best weights of a training, and an end that comes before the plan's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.errors import AddkitWarning, RecipeError
from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run
from addkit.model import load
from addkit.model.build import build_data
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.runs.checkpoint_files import checkpoint_of, pointed_at, step_of
from addkit.training import callbacks
from addkit.training.callbacks import Metrics
from addkit.training.checks import check_budget, check_training
from addkit.training.plan import Plan
from addkit.training.train import train
from addkit.training.trainer import Trainer

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]

STALE = (
    *("data.validation=0.2", "training.epochs=6", "training.evaluate_every=1"),
    # So small a rate changes no weight, so that no score is better than the first one.
    *("training.lr=1e-12", "training.ema=0", "checkpoints.every=3"),
)


def _reopened(trainer: Trainer) -> Trainer:
    return Trainer.open(Run(trainer.run.path), trainer.run.recipe(), "cpu")


def _scored(trainer: Trainer) -> list[int]:
    return [entry["step"] for entry in trainer.run.metrics() if "split" in entry]


def test_a_training_ends_once_no_score_is_better(lab: Any, same: Same) -> None:
    straight = lab.open("straight", *STALE, "training.patience=2")
    straight.fit([Metrics()])
    straight.close()
    epoch = straight.plan.steps_per_epoch
    assert _scored(straight) == [epoch, 2 * epoch, 3 * epoch]
    assert straight.progress.step == 3 * epoch
    # Of equal scores the last one is the best.
    assert pointed_at(straight.run.checkpoints, "best") == checkpoint_of(straight.run.checkpoints)
    assert step_of(checkpoint_of(straight.run.checkpoints)) == 3 * epoch

    again = _reopened(straight)
    recorder = lab.Recorder()
    again.fit([Metrics(), recorder])
    again.close()
    assert (recorder.reports, recorder.epochs) == ([], [])

    killed = lab.open("killed", *STALE, "training.patience=2")
    stop = lab.Recorder(stop_after=2 * epoch + 3)
    with pytest.raises(lab.Stop):
        killed.fit([Metrics(), stop])
    killed.close()
    resumed = _reopened(killed)
    assert resumed.progress.step == 2 * epoch
    resumed.fit([Metrics()])
    resumed.close()
    assert _scored(resumed) == _scored(straight)
    assert same(lab.stored(straight.run.path), lab.stored(killed.run.path))


def test_the_best_weights_are_scored_and_answer(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter(range(100, 0, -1))
    monkeypatch.setattr(
        callbacks, "asdict", lambda scores: {**asdict(scores), "top1": next(falling)}
    )
    changes = (*STALE, "training.patience=1", "checkpoints.use=best", 'control.heads=["linear"]')
    run = lab.open("run", *changes).run
    result = train(run.recipe(), run, device="cpu")
    manifest, epoch = run.manifest(), int(run.manifest().plan["steps_per_epoch"])
    assert (manifest.scored_step, manifest.stopped_step, manifest.steps) == (
        *(epoch, 2 * epoch),
        2 * epoch,
    )
    assert (result.scored_step, result.steps) == (epoch, 2 * epoch)
    best = pointed_at(run.checkpoints, "best")
    assert best is not None
    assert step_of(best) == epoch == load(run.path).step
    # A control has a best of its own.
    assert run.control("linear").manifest().scored_step is not None
    scored = evaluate_run(run.path, Grid(), EvaluationOptions(audit=False))
    assert scored.step == epoch
    assert scored.results[0].scores["top1"] == result.value
    assert type(scored).from_data(scored.data()) == scored
    # What was scored is gone: the last weights answer, with a warning.
    best.rename(tmp_path / "best")
    with pytest.warns(AddkitWarning, match="were scored"):
        assert load(run.path).step == 2 * epoch


def test_the_last_weights_answer_by_default(digits_run: Path) -> None:
    manifest = Run(digits_run).manifest()
    assert (manifest.scored_step, manifest.stopped_step) == (None, None)
    assert load(digits_run).step == manifest.steps


def test_patience_needs_a_validation_split(recipes: Path) -> None:
    recipe = read_recipe(recipes / "digits.toml", ["training.patience=3"])
    with pytest.raises(RecipeError, match=r"\[training\] patience .* data.validation"):
        check_training(recipe, build_data(recipe).facts)
    recipe = read_recipe(recipes / "digits.toml", ["checkpoints.use=best"])
    facts = build_data(recipe).facts
    with pytest.warns(AddkitWarning, match="the last weights are used"):
        check_budget(recipe, facts, Plan.of(recipe, 1258))
    with pytest.raises(RecipeError, match="needs best = true"):
        read_recipe(recipes / "digits.toml", ["checkpoints.use=best", "checkpoints.best=false"])
