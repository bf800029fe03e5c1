from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from addkit_paper.claims.claim import AssessedClaim, Claim, Comparison
from addkit_paper.claims.quantities import SeedScores, Threshold
from addkit_paper.claims.stored_results import MissingResultError, StoredResults
from made_results import made_stored_results, series_of

from addkit.metrics.statistics import paired_interval


@dataclass
class Given:
    """A quantity with these values."""

    scores: SeedScores | None

    def read(self, results: StoredResults) -> SeedScores:
        if self.scores is None:
            raise MissingResultError("no run has it")
        return self.scores


@pytest.fixture
def results(tmp_path: Path) -> StoredResults:
    return made_stored_results(tmp_path)


def _comparison(higher: Any, lower: Any, margin: float = 0.0, control: bool = False) -> Comparison:
    sides = [Given(series_of(*one)) if isinstance(one, tuple) else one for one in (higher, lower)]
    return Comparison("A over B", sides[0], sides[1], margin, control)


@pytest.mark.parametrize(
    ("higher", "verdict"),
    [
        ((82.0, 83.1, 84.0), "holds"),
        ((78.0, 79.1, 80.0), "does not hold"),
        ((79.0, 81.5, 83.0), "not distinguishable"),
        ((80.0, 81.0, 82.0), "not distinguishable"),
        ((82.0, 83.1), "needs 3 seeds"),
        ((99.0,), "needs 3 seeds"),
        ((), "not tested"),
    ],
)
def test_each_verdict_occurs(
    results: StoredResults, higher: tuple[float, ...], verdict: str
) -> None:
    assert _comparison(higher, (80.0, 81.0, 82.0)).measure(results).verdict == verdict


def test_the_interval_is_students_over_pairs_of_a_seed(results: StoredResults) -> None:
    found = _comparison((90.0, 70.0, 51.0), (89.0, 68.0, 50.0)).measure(results)
    assert found.difference == paired_interval([1.0, 2.0, 1.0])
    # t(0.975, 2) = 4.3027, s = 0.57735: unpaired it would be 48 points wide.
    assert found.difference is not None
    assert found.difference.high - found.difference.low == pytest.approx(2 * 4.3027 / 3, rel=1e-4)


def test_both_sides_are_shown_for_the_seeds_that_both_have(results: StoredResults) -> None:
    higher = SeedScores("score", 2, {1: 10.0, 2: 20.0, 3: 30.0, 4: 40.0})
    lower = SeedScores("score", 2, {2: 19.0, 3: 28.0, 4: 37.0, 5: 0.0})
    found = Comparison("A over B", Given(higher), Given(lower)).measure(results)
    assert found.higher is not None
    assert found.lower is not None
    assert found.higher.values == {2: 20.0, 3: 30.0, 4: 40.0}
    assert found.lower.values == {2: 19.0, 3: 28.0, 4: 37.0}
    assert found.difference == paired_interval([1.0, 2.0, 3.0])
    disjoint = Comparison(
        "A over B", Given(series_of(1.0)), Given(SeedScores("score", 2, {7: 1.0}))
    )
    measured = disjoint.measure(results)
    assert (measured.reason, measured.data()["n"]) == ("no seed has both scores", 0)


def test_a_margin_moves_the_line(results: StoredResults) -> None:
    sides = (90.0, 91.1, 92.0), (80.0, 81.0, 82.0)
    verdicts = {
        m: _comparison(*sides, margin=m).measure(results).verdict for m in (0.0, 9.0, 10.0, 40.0)
    }
    assert verdicts == {
        0.0: "holds",
        9.0: "holds",
        10.0: "not distinguishable",
        40.0: "does not hold",
    }


def test_a_side_can_be_a_threshold(results: StoredResults) -> None:
    found = _comparison((99.0, 99.5, 99.2), Threshold(95.0)).measure(results)
    assert found.verdict == "holds"
    assert found.lower == SeedScores("score", 2, {0: 95.0, 1: 95.0, 2: 95.0})


def test_a_missing_result_is_the_reason(results: StoredResults) -> None:
    for comparison in (_comparison(Given(None), (1.0,)), _comparison((1.0,), Given(None))):
        found = comparison.measure(results)
        assert (found.verdict, found.reason) == ("not tested", "no run has it")
        assert found.data()["difference"] is None


def _assessed(results: StoredResults, *comparisons: Comparison) -> AssessedClaim:
    return Claim(
        name="n", title="t", quote="q", place="p", paper="x", comparisons=comparisons, repeat=()
    ).assess(results)


def test_a_claim_gets_the_worst_verdict_of_its_comparisons(results: StoredResults) -> None:
    base = (80.0, 81.0, 82.0)
    holds = _comparison((82.0, 83.1, 84.0), base)
    fails = _comparison((78.0, 79.1, 80.0), base)
    level = _comparison((79.0, 81.5, 83.0), base)
    few = _comparison((82.0,), base)
    missing = _comparison(Given(None), base)
    assert _assessed(results, holds, holds).verdict == "holds"
    assert _assessed(results, holds, missing).verdict == "not tested"
    assert _assessed(results, holds, missing, level).verdict == "not distinguishable"
    assert _assessed(results, holds, level, few).verdict == "needs 3 seeds"
    assert _assessed(results, holds, few, fails).verdict == "does not hold"
    assert _assessed(results).verdict == "not tested"


def test_controls_have_their_own_verdict(results: StoredResults) -> None:
    base = (80.0, 81.0, 82.0)
    own, control = (
        _comparison((82.0, 83.1, 84.0), base),
        _comparison((78.0, 79.1, 80.0), base, control=True),
    )
    found = _assessed(results, own, control)
    assert (found.verdict, found.control_verdict) == ("holds", "does not hold")
    assert _assessed(results, own).control_verdict == "-"


def test_mean_and_sd_are_in_the_scores_unit() -> None:
    found = SeedScores.from_stored("exact_match", {2: 0.5, 1: 0.7})
    assert found.title == "exact match, %"
    assert found.data() == {
        "mean": pytest.approx(60.0),
        "sd": pytest.approx(14.1421, rel=1e-5),
        "values": {1: 70.0, 2: 50.0},
    }
    assert SeedScores.from_stored("clip_cosine", {0: 0.25}).text(0.25, "+") == "+0.2500"
    assert SeedScores.from_stored("top1", {}).data() == {"mean": None, "sd": None, "values": {}}
