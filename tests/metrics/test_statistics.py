from __future__ import annotations

import math

import pytest
import torch

from addkit.metrics.statistics import (
    Interval,
    basic_interval,
    bootstrap_interval,
    paired_interval,
    resamples,
    t_quantile,
    verdict,
)


@pytest.mark.parametrize(
    ("probability", "degrees", "tabulated"),
    [
        (0.975, 1, 12.7062047364),
        (0.975, 2, 4.3026527297),
        (0.975, 3, 3.1824463053),
        (0.975, 4, 2.7764451052),
        (0.975, 9, 2.2621571628),
        (0.975, 10, 2.2281388520),
        (0.975, 30, 2.0422724563),
        (0.975, 1000, 1.9623390808),
        (0.95, 5, 2.0150483733),
        (0.995, 7, 3.4994832974),
    ],
)
def test_quantiles_of_students_t(probability: float, degrees: int, tabulated: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(tabulated, abs=1e-6)
    assert t_quantile(1 - probability, degrees) == pytest.approx(-tabulated, abs=1e-6)


def test_the_median_of_students_t() -> None:
    assert t_quantile(0.5, 6) == pytest.approx(0, abs=1e-12)


def test_a_paired_interval_by_hand() -> None:
    interval = paired_interval([1.0, 2.0, 6.0])
    half = 4.3026527297 * math.sqrt(7) / math.sqrt(3)
    assert (interval.mean, interval.n) == (3, 3)
    assert interval.low == pytest.approx(3 - half)
    assert interval.high == pytest.approx(3 + half)


def test_equal_differences_have_no_width() -> None:
    assert paired_interval(torch.tensor([0.5, 0.5])) == Interval(0.5, 0.5, 0.5, 2)


def test_differences_that_agree_are_as_sure_as_the_least_deviation() -> None:
    interval = paired_interval([0.5, 0.5, 0.5], least_deviation=0.2)
    assert interval.high - 0.5 == pytest.approx(4.3026527297 * 0.2 / math.sqrt(3))
    assert paired_interval([1.0, 2.0, 6.0], least_deviation=0.2) == paired_interval([1.0, 2.0, 6.0])


@pytest.mark.parametrize("differences", [[], [1.0]])
def test_one_difference_has_no_spread(differences: list[float]) -> None:
    with pytest.raises(ValueError, match=rf"^{len(differences)} differences have no spread"):
        paired_interval(differences)


def test_paired_intervals_cover_the_truth_at_their_level() -> None:
    draws = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    inside = [interval.low <= 0 <= interval.high for interval in map(paired_interval, draws)]
    assert sum(inside) / len(inside) == pytest.approx(0.95, abs=0.02)


def test_a_bootstrapped_mean_agrees_with_theory() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(1))
    interval = bootstrap_interval(values, lambda drawn: float(drawn.mean()), seed=0)
    half = 1.96 * float(values.std(correction=0)) / 20
    assert (interval.mean, interval.n) == (pytest.approx(float(values.mean())), 400)
    assert interval.low == pytest.approx(interval.mean - half, rel=0.1, abs=0.1 * half)
    assert interval.high == pytest.approx(interval.mean + half, rel=0.1, abs=0.1 * half)
    assert bootstrap_interval(values, lambda drawn: float(drawn.mean()), seed=0) == interval
    assert bootstrap_interval(values, lambda drawn: float(drawn.mean()), seed=1) != interval


def test_pairs_stay_together() -> None:
    first = torch.randn(200, generator=torch.Generator().manual_seed(2))
    pairs = torch.stack([first + 0.25, first], dim=1)
    interval = bootstrap_interval(
        pairs, lambda drawn: float((drawn[:, 0] - drawn[:, 1]).mean()), seed=0, draws=100
    )
    assert (interval.low, interval.high) == (pytest.approx(0.25), pytest.approx(0.25))


def test_a_resample_keeps_the_order() -> None:
    def rising(drawn: torch.Tensor) -> float:
        assert (drawn.diff() >= 0).all()
        return 0.0

    bootstrap_interval(torch.arange(50), rising, seed=0, draws=20)


def test_the_basic_interval_takes_back_what_resampling_adds() -> None:
    drawn = torch.linspace(1.0, 3.0, 2001)
    assert basic_interval(1.5, drawn, 9) == Interval(
        1.5, pytest.approx(0.05), pytest.approx(1.95), 9
    )


def test_nothing_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match=r"^no values to resample$"):
        bootstrap_interval(torch.zeros(0), lambda drawn: 0.0, seed=0)


def test_resamples_draw_with_replacement() -> None:
    counts = torch.cat(list(resamples(30, seed=3, draws=130)))
    assert counts.shape == (130, 30)
    assert (counts.sum(1) == 30).all()
    assert float(counts.double().mean(0).std()) < 0.2
    assert float((counts == 0).double().mean()) == pytest.approx((1 - 1 / 30) ** 30, abs=0.03)
    assert torch.equal(torch.cat(list(resamples(30, seed=3, draws=130))), counts)


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "seeds", "said"),
    [
        (0.1, 0.3, True, 3, "better"),
        (0.1, 0.3, False, 3, "worse"),
        (-0.3, -0.1, True, 5, "worse"),
        (-0.3, -0.1, False, 5, "better"),
        (-0.1, 0.2, True, 3, "not distinguishable"),
        (0.0, 0.0, False, 3, "not distinguishable"),
        (1e-15, 1e-15, True, 3, "not distinguishable"),
        (0.1, 0.3, True, 2, "needs 3 seeds"),
        (-0.1, 0.3, True, 1, "needs 3 seeds"),
        (0.1, 0.3, True, None, "better"),
    ],
)
def test_verdicts(
    low: float, high: float, higher_is_better: bool, seeds: int | None, said: str
) -> None:
    interval = Interval((low + high) / 2, low, high, 9)
    assert verdict(interval, higher_is_better, seeds) == said
