"""A claim of the paper, the comparisons that test it, and the verdict that they allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from addkit.metrics.statistics import Interval, paired_interval, verdict
from addkit_paper.claims.quantities import Quantity, SeedScores, Threshold
from addkit_paper.claims.stored_results import MissingResultError, StoredResults

Verdict = Literal[
    "holds", "does not hold", "needs 3 seeds", "not distinguishable", "not tested", "-"
]

WORST_FIRST: tuple[Verdict, ...] = (
    "does not hold",
    "needs 3 seeds",
    "not distinguishable",
    "not tested",
    "holds",
)
"""A claim with several comparisons gets the first of these that one of them has."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement that a claim implies: `higher` minus `lower` is above `margin`."""

    what: str
    higher: Quantity
    lower: Quantity | Threshold
    margin: float = 0.0
    """Smallest difference that counts, in the unit of the score."""
    control: bool = False
    """True for a comparison that the paper does not make."""

    def measure(self, results: StoredResults) -> MeasuredComparison:
        """Pair the two sides by seed; a missing result makes the comparison `not tested`."""
        try:
            higher = self.higher.read(results)
            if isinstance(self.lower, Threshold):
                lower = self.lower.at_seeds_of(higher)
            else:
                lower = self.lower.read(results)
        except MissingResultError as error:
            return MeasuredComparison(self, reason=str(error))
        differences = list((higher - lower).values.values())
        if not differences:
            return MeasuredComparison(self, higher, lower, reason="no seed has both scores")
        # A seed whose training failed on one side gives no pair.
        higher, lower = higher.restricted_to(lower), lower.restricted_to(higher)
        if len(differences) == 1:
            # One seed has a difference, but no interval.
            (only,) = differences
            return MeasuredComparison(self, higher, lower, Interval(only, only, only, 1))
        return MeasuredComparison(self, higher, lower, paired_interval(differences))


@dataclass(frozen=True, slots=True)
class MeasuredComparison:
    """A comparison with its numbers."""

    comparison: Comparison
    higher: SeedScores | None = None
    lower: SeedScores | None = None
    difference: Interval | None = None
    """Over the seeds, by Student's t; of width 0 for one seed."""
    reason: str | None = None
    """Why it was not assessed."""

    @property
    def verdict(self) -> Verdict:
        """The verdict on the difference beyond the margin."""
        if self.difference is None:
            return "not tested"
        interval, margin = self.difference, self.comparison.margin
        # The interval of the difference, shifted by the margin, is compared with 0.
        excess = Interval(
            interval.mean - margin, interval.low - margin, interval.high - margin, interval.n
        )
        match verdict(excess, higher_is_better=True, seeds=interval.n):
            case "better":
                return "holds"
            case "worse":
                return "does not hold"
            case undecided:
                return undecided

    def data(self) -> dict[str, Any]:
        """For JSON; `low` and `high` are null for fewer than two seeds."""
        interval = self.difference
        has_width = interval is not None and interval.n > 1
        return {
            "what": self.comparison.what,
            "control": self.comparison.control,
            "metric": self.higher.title if self.higher else None,
            "higher": self.higher.data() if self.higher else None,
            "lower": self.lower.data() if self.lower else None,
            "margin": self.comparison.margin,
            "difference": interval.mean if interval else None,
            "low": interval.low if interval and has_width else None,
            "high": interval.high if interval and has_width else None,
            "n": interval.n if interval else 0,
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim of the paper, and how it is tested here."""

    name: str
    title: str
    quote: str
    """Words of the paper."""
    place: str
    """Section or table of the quote."""
    paper: str
    """The paper's numbers."""
    comparisons: tuple[Comparison, ...] = ()
    repeat: tuple[str, ...]
    """Commands; {ablation}, {seeds} and {captions} are replaced by recipes and number of seeds."""
    note: str = ""
    """A caution about the numbers."""

    def assess(self, results: StoredResults) -> AssessedClaim:
        """Measure each comparison."""
        return AssessedClaim(self, tuple(each.measure(results) for each in self.comparisons))


@dataclass(frozen=True, slots=True)
class AssessedClaim:
    """A claim with its measured comparisons."""

    claim: Claim
    measured: tuple[MeasuredComparison, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the paper's own comparisons."""
        return _worst([each.verdict for each in self.measured if not each.comparison.control])

    @property
    def control_verdict(self) -> Verdict:
        """The worst of the control comparisons; a dash if there are none."""
        verdicts = [each.verdict for each in self.measured if each.comparison.control]
        return _worst(verdicts) if verdicts else "-"

    def commands(self, names: Mapping[str, str]) -> list[str]:
        """The commands that repeat the test, with the names of `Claim.repeat` filled in."""
        return [command.format_map(dict(names)) for command in self.claim.repeat]

    def data(self, names: Mapping[str, str]) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.claim.name,
            "title": self.claim.title,
            "quote": self.claim.quote,
            "place": self.claim.place,
            "paper": self.claim.paper,
            "verdict": self.verdict,
            "control_verdict": self.control_verdict,
            "comparisons": [each.data() for each in self.measured],
            "note": self.claim.note,
            "repeat": self.commands(names),
        }


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    return min(verdicts or ["not tested"], key=WORST_FIRST.index)
