"""A claim of the paper, the comparisons that test it, and what they allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from addkit.metrics.statistics import Interval, paired_interval, verdict
from addkit_paper.claims.readings import Level, Reading
from addkit_paper.claims.series import NotThereError, Series
from addkit_paper.claims.stored_results import Evidence

Verdict = Literal[
    "holds", "does not hold", "needs 3 seeds", "not distinguishable", "not tested", "-"
]

GRAVEST: tuple[Verdict, ...] = (
    "does not hold",
    "needs 3 seeds",
    "not distinguishable",
    "not tested",
    "holds",
)
"""A claim that says several things is as good as the worst of them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: `higher` minus `lower` lies above `margin`, if the claim is right."""

    what: str
    higher: Reading
    lower: Reading | Level
    margin: float = 0.0
    """In the unit of the score."""
    control: bool = False
    """True for a comparison that the paper lacks."""

    def run(self, evidence: Evidence) -> Measured:
        """Paired by seed; what is missing makes it `not tested`, with the reason."""
        try:
            higher = self.higher.of(evidence)
            other = self.lower
            lower = other.against(higher) if isinstance(other, Level) else other.of(evidence)
        except NotThereError as error:
            return Measured(self, reason=str(error))
        differences = list((higher - lower).values.values())
        if not differences:
            return Measured(self, higher, lower, reason="no seed has both scores")
        higher, lower = higher.where(lower), lower.where(higher)
        if len(differences) == 1:
            alone = Interval(differences[0], differences[0], differences[0], 1)
            return Measured(self, higher, lower, alone)
        return Measured(self, higher, lower, paired_interval(differences))


@dataclass(frozen=True, slots=True)
class Measured:
    """A comparison with its numbers."""

    comparison: Comparison
    higher: Series | None = None
    lower: Series | None = None
    difference: Interval | None = None
    """Over the seeds, by Student's t; of one seed it has no width, and no claim."""
    reason: str | None = None
    """Why it was not tested."""

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say of the difference beyond its margin."""
        if self.difference is None:
            return "not tested"
        one, margin = self.difference, self.comparison.margin
        beyond = Interval(one.mean - margin, one.low - margin, one.high - margin, one.n)
        match verdict(beyond, higher_is_better=True, seeds=one.n):
            case "better":
                return "holds"
            case "worse":
                return "does not hold"
            case undecided:
                return undecided

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        one = self.difference
        wide = one is not None and one.n > 1
        return {
            "what": self.comparison.what,
            "control": self.comparison.control,
            "metric": self.higher.title if self.higher else None,
            "higher": self.higher.data() if self.higher else None,
            "lower": self.lower.data() if self.lower else None,
            "margin": self.comparison.margin,
            "difference": one.mean if one else None,
            "low": one.low if one and wide else None,
            "high": one.high if one and wide else None,
            "n": one.n if one else 0,
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the paper says, and how it is tested here."""

    name: str
    title: str
    quote: str
    """The paper's own words."""
    place: str
    """Where it says so."""
    paper: str
    """Its numbers."""
    comparisons: tuple[Comparison, ...] = ()
    repeat: tuple[str, ...]
    """Commands; {ablation}, {seeds} and {captions} stand for recipes and number of seeds."""
    note: str = ""
    """What one must know to read the numbers."""

    def find(self, evidence: Evidence) -> Finding:
        """Test it."""
        return Finding(self, tuple(one.run(evidence) for one in self.comparisons))


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with its comparisons."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def verdict(self) -> Verdict:
        """Of the paper's own comparisons together."""
        return _gravest([one.verdict for one in self.measured if not one.comparison.control])

    @property
    def control_verdict(self) -> Verdict:
        """Of the controls that the paper lacks; a dash where there are none."""
        controls = [one.verdict for one in self.measured if one.comparison.control]
        return _gravest(controls) if controls else "-"

    def repeat(self, names: Mapping[str, str]) -> list[str]:
        """The commands, with the names of `Claim.repeat` filled in."""
        return [command.format_map(dict(names)) for command in self.claim.repeat]

    def data(self, names: Mapping[str, str]) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.claim.name,
            "title": self.claim.title,
            "quote": self.claim.quote,
            "place": self.claim.place,
            "paper": self.claim.paper,
            "verdict": self.verdict,
            "control_verdict": self.control_verdict,
            "comparisons": [one.data() for one in self.measured],
            "note": self.claim.note,
            "repeat": self.repeat(names),
        }


def _gravest(verdicts: Sequence[Verdict]) -> Verdict:
    return min(verdicts or ["not tested"], key=GRAVEST.index)


def find(claims: Sequence[Claim], evidence: Evidence) -> list[Finding]:
    """Test each."""
    return [claim.find(evidence) for claim in claims]
