from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from addkit_paper.claims.claim import Claim, Comparison, Finding
from addkit_paper.claims.readings import Level
from addkit_paper.claims.series import NotThereError, Series, series
from addkit_paper.claims.stored_results import Evidence
from made_results import made_evidence, series_of

from addkit.metrics.statistics import paired_interval


@dataclass
class Given:
    """Reads what it was given."""

    series: Series | None

    def of(self, evidence: Evidence) -> Series:
        if self.series is None:
            raise NotThereError("nobody measured it")
        return self.series


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return made_evidence(tmp_path)


def _test(higher: Any, lower: Any, margin: float = 0.0, control: bool = False) -> Comparison:
    sides = [Given(series_of(*one)) if isinstance(one, tuple) else one for one in (higher, lower)]
    return Comparison("A over B", sides[0], sides[1], margin, control)


@pytest.mark.parametrize(
    ("higher", "said"),
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
def test_each_verdict_occurs(evidence: Evidence, higher: tuple[float, ...], said: str) -> None:
    assert _test(higher, (80.0, 81.0, 82.0)).run(evidence).verdict == said


def test_the_interval_is_students_over_pairs_of_a_seed(evidence: Evidence) -> None:
    found = _test((90.0, 70.0, 51.0), (89.0, 68.0, 50.0)).run(evidence)
    assert found.difference == paired_interval([1.0, 2.0, 1.0])
    # t(0.975, 2) = 4.3027, s = 0.57735: unpaired it would be 48 points wide.
    assert found.difference is not None
    assert found.difference.high - found.difference.low == pytest.approx(2 * 4.3027 / 3, rel=1e-4)


def test_both_sides_are_shown_for_the_seeds_that_both_have(evidence: Evidence) -> None:
    higher = Series("score", 2, {1: 10.0, 2: 20.0, 3: 30.0, 4: 40.0})
    lower = Series("score", 2, {2: 19.0, 3: 28.0, 4: 37.0, 5: 0.0})
    found = Comparison("A over B", Given(higher), Given(lower)).run(evidence)
    assert found.higher is not None
    assert found.lower is not None
    assert found.higher.values == {2: 20.0, 3: 30.0, 4: 40.0}
    assert found.lower.values == {2: 19.0, 3: 28.0, 4: 37.0}
    assert found.difference == paired_interval([1.0, 2.0, 3.0])
    apart = Comparison("A over B", Given(series_of(1.0)), Given(Series("score", 2, {7: 1.0})))
    assert (
        apart.run(evidence).data() | {"reason": "no seed has both scores", "n": 0}
        == apart.run(evidence).data()
    )


def test_a_margin_moves_the_line(evidence: Evidence) -> None:
    sides = (90.0, 91.1, 92.0), (80.0, 81.0, 82.0)
    told = {m: _test(*sides, margin=m).run(evidence).verdict for m in (0.0, 9.0, 10.0, 40.0)}
    assert told == {0.0: "holds", 9.0: "holds", 10.0: "not distinguishable", 40.0: "does not hold"}


def test_a_number_can_be_a_side(evidence: Evidence) -> None:
    found = _test((99.0, 99.5, 99.2), Level(95.0)).run(evidence)
    assert found.verdict == "holds"
    assert found.lower == Series("score", 2, {0: 95.0, 1: 95.0, 2: 95.0})


def test_what_is_missing_is_said(evidence: Evidence) -> None:
    for test in (_test(Given(None), (1.0,)), _test((1.0,), Given(None))):
        found = test.run(evidence)
        assert (found.verdict, found.reason) == ("not tested", "nobody measured it")
        assert found.data()["difference"] is None


def _finding(evidence: Evidence, *comparisons: Comparison) -> Finding:
    return Claim(
        name="n", title="t", quote="q", place="p", paper="x", comparisons=comparisons, repeat=()
    ).find(evidence)


def test_a_claim_is_as_good_as_the_worst_of_its_comparisons(evidence: Evidence) -> None:
    base = (80.0, 81.0, 82.0)
    holds = _test((82.0, 83.1, 84.0), base)
    fails = _test((78.0, 79.1, 80.0), base)
    level = _test((79.0, 81.5, 83.0), base)
    few = _test((82.0,), base)
    missing = _test(Given(None), base)
    assert _finding(evidence, holds, holds).verdict == "holds"
    assert _finding(evidence, holds, missing).verdict == "not tested"
    assert _finding(evidence, holds, missing, level).verdict == "not distinguishable"
    assert _finding(evidence, holds, level, few).verdict == "needs 3 seeds"
    assert _finding(evidence, holds, few, fails).verdict == "does not hold"
    assert _finding(evidence).verdict == "not tested"


def test_controls_stand_apart(evidence: Evidence) -> None:
    base = (80.0, 81.0, 82.0)
    own, control = _test((82.0, 83.1, 84.0), base), _test((78.0, 79.1, 80.0), base, control=True)
    found = _finding(evidence, own, control)
    assert (found.verdict, found.control_verdict) == ("holds", "does not hold")
    assert _finding(evidence, own).control_verdict == "-"


def test_a_series_tells_mean_and_sd_in_its_unit() -> None:
    found = series("exact_match", {2: 0.5, 1: 0.7})
    assert found.title == "exact match, %"
    assert found.data() == {
        "mean": pytest.approx(60.0),
        "sd": pytest.approx(14.1421, rel=1e-5),
        "values": {1: 70.0, 2: 50.0},
    }
    assert series("clip_cosine", {0: 0.25}).text(0.25, "+") == "+0.2500"
    assert series("top1", {}).data() == {"mean": None, "sd": None, "values": {}}
