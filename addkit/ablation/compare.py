"""From scores by seed to a table of paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any

from addkit.metrics.statistics import paired_interval, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRow:
    """Scores of one arm; None for a seed that failed."""

    name: str
    changes: dict[str, Any]
    seeds: list[int]
    metric: str
    values: list[float | None]
    mean: float | None
    sd: float | None
    """Of the seeds; None below two."""
    train_runs: int
    """Trainings that no row above has used."""
    runs: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(BaseRow):
    """An arm beside the base."""

    difference: float | None
    """Mean over the seeds of arm minus base, seed by seed."""
    low: float | None
    """95 % interval by Student's t over the seeds; None below two seeds."""
    high: float | None
    verdict: str
    """better, worse, not distinguishable, needs 3 seeds, or failed."""


def compare(base: BaseRow, arm: BaseRow, resolution: float = 0.0) -> Row:
    """The arm's row: differences within pairs of one seed, since seeds move both arms alike.

    Args:
        base: what the arm is compared with.
        arm: the same seeds.
        resolution: what one test image more or less changes. Differences that agree to the last
            image by chance would have an interval without width: their standard deviation counts
            for at least this much.
    """
    pairs = [
        theirs - ours
        for theirs, ours in zip(arm.values, base.values, strict=True)
        if theirs is not None and ours is not None
    ]
    told: dict[str, Any] = {"difference": None, "low": None, "high": None, "verdict": "failed"}
    if len(pairs) == 1:
        told |= {"difference": pairs[0], "verdict": "needs 3 seeds"}
    elif pairs:
        interval = paired_interval(pairs, resolution)
        said = verdict(interval, higher_is_better=True, seeds=len(pairs))
        told = {
            "difference": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "verdict": said,
        }
    return Row(**asdict(arm), **told)


def spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of the seeds that there are."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    return fmean(known), stdev(known) if len(known) > 1 else None
