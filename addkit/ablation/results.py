"""The table of an ablation: scores by seed, paired differences, and result.json, its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from addkit.metrics.statistics import paired_interval, verdict
from addkit.runs.atomic import write_json
from addkit.runs.stored import read_typed

RESULT = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRow:
    """Scores of one arm over the seeds; None for a seed that failed."""

    name: str
    changes: dict[str, Any]
    """`table.key` -> value, where the arm differs from the base."""
    seeds: list[int]
    metric: str
    values: list[float | None]
    mean: float | None
    sd: float | None
    """Standard deviation over the seeds; None below two."""
    train_runs: int
    """Trainings that no row above has used."""
    runs: list[str] = field(default_factory=list)
    """Run folders, one for each seed."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow(BaseRow):
    """An arm and its difference to the base."""

    difference: float | None
    """Mean over the seeds of arm minus base, seed by seed."""
    low: float | None
    """95 % interval by Student's t over the seeds; None below two seeds."""
    high: float | None
    verdict: str
    """better, worse, not distinguishable, needs 3 seeds, or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationResult:
    """The table that `addkit ablate` prints and stores as result.json."""

    folder: str
    recipe: str
    command: str
    """As it was typed."""
    metric: str
    seeds: list[int]
    shared: list[str]
    """Overrides that every arm got, see `AblationPlan.shared`."""
    notes: list[str]
    base: BaseRow
    arms: list[ArmRow]
    train_runs: int
    """Distinct trainings behind the table."""
    trained_now: int
    """Trainings that this call ran."""
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> AblationResult:
        """The stored result of an ablation; raises `RunError` if it is missing or broken."""
        return read_typed(folder / RESULT, cls)

    def write(self) -> None:
        """Store it in its folder."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RESULT, asdict(self))


def compare(base: BaseRow, arm: BaseRow, resolution: float = 0.0) -> ArmRow:
    """The arm's row: differences within pairs of one seed, since seeds move both arms alike.

    Args:
        base: the reference.
        arm: scores with the same seeds.
        resolution: score of one test image more or less. Differences that agree to the last image
            by chance would have an interval without width: their standard deviation counts for at
            least this much.
    """
    # Seeds that failed in either arm are left out: their pair has no difference.
    pairs = [
        arm_value - base_value
        for arm_value, base_value in zip(arm.values, base.values, strict=True)
        if arm_value is not None and base_value is not None
    ]
    difference = low = high = None
    conclusion = "failed"
    if len(pairs) == 1:  # One pair has no spread, so no interval.
        difference, conclusion = pairs[0], "needs 3 seeds"
    elif pairs:
        # A t interval of the differences, not of both means: within a seed data order and first
        # weights are equal, and most of the spread cancels.
        interval = paired_interval(pairs, resolution)
        difference, low, high = interval.mean, interval.low, interval.high
        conclusion = verdict(interval, higher_is_better=True, seeds=len(pairs))
    row = asdict(arm)
    return ArmRow(**row, difference=difference, low=low, high=high, verdict=conclusion)


def spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over the seeds that did not fail."""
    scores = [value for value in values if value is not None]
    if not scores:
        return None, None
    # n - 1 in the denominator: seeds are a sample.
    return fmean(scores), stdev(scores) if len(scores) > 1 else None
