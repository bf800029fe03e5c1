from __future__ import annotations

import math

import numpy as np
import pytest

from addkit.metrics.statistics import Interval, mean_interval


def test_of_many_values_it_is_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3, 2, size=2000)
    interval = mean_interval(values.tolist())
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval.n == 2000


def test_nineteen_of_twenty_intervals_cover_the_truth() -> None:
    draws = np.random.default_rng(2).random((100, 100)) < 0.3
    interval = [mean_interval(row.tolist()) for row in draws]
    covered = sum(one.low <= 0.3 <= one.high for one in interval)
    # Binomial(100, .95) lies in [87, 100] but once in 1,000.
    assert 87 <= covered <= 100


def test_the_seed_decides() -> None:
    values = [0.0, 1.0, 0.0, 0.5, 0.25] * 7
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_values_that_agree_leave_no_width() -> None:
    assert mean_interval([True] * 4) == Interval(1, 1, 1, 4)
    assert mean_interval([0.25]) == Interval(0.25, 0.25, 0.25, 1)


def test_no_values() -> None:
    with pytest.raises(ValueError, match=r"no values"):
        mean_interval([])
