"""Tables of paired differences."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from addkit.ablation.results import BaseRow, Store, compare, spread


def _row(*values: float | None, name: str = "arm") -> BaseRow:
    mean, sd = spread(values)
    return BaseRow(
        name=name,
        changes={},
        seeds=list(range(len(values))),
        metric="top1",
        values=list(values),
        mean=mean,
        sd=sd,
        train_runs=1,
    )


def test_differences_are_taken_within_a_seed() -> None:
    # Seeds move both arms by far more than the arms differ.
    row = compare(_row(90.0, 80.0, 70.0), _row(91.0, 81.1, 70.9))
    assert row.difference == pytest.approx(1.0)
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert (row.low, row.high) == pytest.approx((1.0 - half, 1.0 + half), abs=1e-5)
    assert row.verdict == "better"
    assert row.sd == pytest.approx(10.1, abs=0.1)


def test_verdicts() -> None:
    base = _row(90.0, 90.0, 90.0)
    assert compare(base, _row(88.0, 88.1, 88.2)).verdict == "worse"
    assert compare(base, _row(88.0, 92.1, 90.2)).verdict == "not distinguishable"
    two = compare(_row(90.0, 90.0), _row(80.0, 80.1))
    assert (two.verdict, two.low is not None) == ("needs 3 seeds", True)
    one = compare(_row(90.0), _row(80.0))
    assert (one.verdict, one.difference, one.low) == ("needs 3 seeds", -10.0, None)


def test_an_interval_is_never_narrower_than_an_image() -> None:
    base, arm = _row(98.70, 98.52, 98.89), _row(98.33, 98.15, 98.52)
    assert compare(base, arm).verdict == "worse"
    floored = compare(base, arm, resolution=100 / 539)
    assert floored.verdict == "not distinguishable"
    assert floored.high == pytest.approx(-0.37 + 4.302653 * (100 / 539) / math.sqrt(3), abs=1e-4)


def test_seeds_that_failed_are_left_out_of_pairs() -> None:
    row = compare(_row(90.0, 80.0, None), _row(91.0, None, 70.0))
    assert (row.difference, row.verdict) == (1.0, "needs 3 seeds")
    assert row.mean == pytest.approx(80.5)
    # Two pairs of three seeds claim nothing, whichever arm a seed is missing in.
    base, arm = _row(9.0, 8.0, None), _row(5.0, 4.1, 7.0)
    assert compare(base, arm).verdict == compare(arm, base).verdict == "needs 3 seeds"
    nothing = compare(_row(90.0), _row(None))
    assert (nothing.difference, nothing.verdict, nothing.mean) == (None, "failed", None)


def test_of_a_loss_less_is_better() -> None:
    base, arm = (
        replace(_row(*values), metric="nll") for values in ((1.0, 1.1, 1.2), (0.5, 0.6, 0.7))
    )
    assert compare(base, arm).verdict == "better"
    assert compare(arm, base).verdict == "worse"


def test_each_way_to_answer_has_scores_of_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [("a", "b"), ("a", "c"), ("d", "b")]
    assert len({store.scores_file(*key) for key in keys}) == len(keys)
