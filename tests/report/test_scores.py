from __future__ import annotations

import pytest

from addkit.report.scores import in_unit, score_interval, score_text, score_title, wilson


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (50, 100, 0.4038, 0.5962), (9, 9, 0.7008, 1.0)],
)
def test_wilsons_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right / count, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", [1, 3, 539, 10**6])
def test_the_share_lies_within(count: int) -> None:
    for right in {0, 1, count // 2, count - 1, count}:
        low, high = wilson(right / count, count)
        assert 0 <= low <= right / count <= high <= 1


def test_shares_and_percents_have_one_unit() -> None:
    assert (in_unit("exact_match", 0.25), in_unit("top1", 25.0)) == (25.0, 25.0)
    assert score_interval("exact_match", 0.5, 100) == score_interval("top1", 50.0, 100)
    assert score_interval("nll", 0.5, 100) is None
    assert score_interval("top1", 50.0, None) is None
    assert [score_title(n) for n in ("top1", "nll", "my_own")] == [
        "top-1, %",
        "NLL, nats",
        "my own",
    ]
    assert [score_text("exact_match", 0.5), score_text("nll", 0.5)] == ["50.00", "0.5000"]
    assert [score_text("count", 1200), score_text("top1", None)] == ["1,200", "-"]
