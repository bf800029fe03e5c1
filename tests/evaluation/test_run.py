from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from addkit.errors import DataError, UsageError
from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run
from addkit.model import Predictor, load
from addkit.runs import Run


def test_a_grid_is_every_combination_once(digits_run: Path) -> None:
    inference = load(digits_run).inference
    grid = Grid(steps=[1, 2], read_out=["one-pass", "last"], guidance=[1.0, 2.0], chains=3)
    settings = grid.combinations(inference)
    assert [(one.read_out.name, one.guidance) for one in settings[:2]] == [
        ("one-pass", 1.0),
        ("one-pass", 2.0),
    ]
    assert [(one.steps, one.guidance) for one in settings[2:]] == [
        *((1, 1.0), (2, 1.0), (1, 2.0), (2, 2.0)),
    ]
    assert {one.chains for one in settings} == {3}
    assert Grid().combinations(inference) == [inference]


@pytest.mark.parametrize("override", ["training.epochs=3", "sampling.steps=2", "seed=1"])
def test_an_evaluation_may_only_move_the_data(digits_run: Path, override: str) -> None:
    with pytest.raises(UsageError, match=r"data\.KEY=VALUE"):
        evaluate_run(digits_run, Grid(), EvaluationOptions(overrides=[override]))


def test_an_unknown_split_is_refused(digits_run: Path) -> None:
    with pytest.raises(DataError, match=r'"tset".*train, test'):
        evaluate_run(digits_run, Grid(), EvaluationOptions(split="tset"))


def test_one_early_exit_is_of_every_combination(digits_run: Path) -> None:
    inference = load(digits_run).inference.replace(read_out="last", steps=3)
    assert [one.early_exit for one in Grid(early_exit=[2]).combinations(inference)] == [2]
    assert [one.early_exit for one in Grid(early_exit=[2, 4]).combinations(inference)] == [0]


def test_several_labels_are_scored_at_their_first_step_too(digits_run: Path) -> None:
    one = load(digits_run).inference.replace(read_out="last")
    several = replace(one, problem=replace(one.problem, num_tokens=2))
    for inference, steps in ((one, [5, 3]), (several, [1, 5, 3])):
        assert [each.steps for each in Grid(steps=[5, 3]).combinations(inference)] == steps


def test_an_evaluation_scores_its_settings_and_its_controls(digits_run: Path) -> None:
    grid = Grid(read_out=["one-pass", "last"], steps=[2], sampler=["gibbs"])
    result = evaluate_run(digits_run, grid)
    run = Run(digits_run)
    one, chain = result.results
    assert (one.setting.read_out, chain.setting.read_out) == ("one-pass", "last")
    stored = run.manifest().scores["ema"]
    assert one.scores["nll"] == pytest.approx(stored["nll"], rel=1e-4)
    assert abs(chain.scores["nll"] - stored["nll"]) > 1e-3
    heads = run.controls()
    assert [row.model_name for row in result.controls] == [f"control, {head}" for head in heads]
    for row, control in zip(result.controls, heads.values(), strict=True):
        assert row.scores["nll"] == pytest.approx(control.manifest().scores["ema"]["nll"], rel=1e-4)
    assert result.audit is not None
    assert result.audit.control == pytest.approx(result.controls[0].scores["top1"])


def test_an_evaluation_is_of_its_split_weights_and_seed(digits_run: Path) -> None:
    def scores(**asked: object) -> list[dict[str, float | None]]:
        grid = Grid(read_out=["last"], steps=[2], sampler=["gibbs"])
        result = evaluate_run(digits_run, grid, EvaluationOptions(audit=False, **asked))
        return [dict(row.scores) for row in (*result.results, *result.controls)]

    usual, other, raw = scores(), scores(seed=1, split="train"), scores(weights="raw")
    assert [row["count"] for row in usual + other] == [539] * 3 + [1258] * 3
    assert all(one["nll"] != two["nll"] for one, two in zip(usual, raw, strict=True))
    assert scores(seed=1)[0]["nll"] != usual[0]["nll"]


def test_what_has_no_loop_is_not_audited(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "loops", False)
    assert evaluate_run(digits_run, Grid(), EvaluationOptions(audit=True)).audit is None
