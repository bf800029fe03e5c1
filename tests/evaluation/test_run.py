from __future__ import annotations

from pathlib import Path

import pytest

from addkit.errors import DataError, UsageError
from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run
from addkit.model import load


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
