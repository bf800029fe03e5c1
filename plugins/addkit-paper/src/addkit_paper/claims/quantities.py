"""The quantities that claims compare, each read from stored results as a score by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

from addkit.ablation.results import spread
from addkit.evaluation.results import ConfidenceRow, Score
from addkit.report.run_files import RunFiles, accuracy_line
from addkit.runs import Run
from addkit_paper.claims.stored_results import MissingResultError, StoredResults, arm_text

BASE_STEPS = 20
"""Sampling steps of the paper, and of recipes/ablation.toml."""
FEWEST_EPOCHS = 30
"""Epochs below which no claim about overfitting is tested."""
NO_CAPTIONS = "no captioning runs were given; `addkit claims --captions RUN,...`"


@dataclass(frozen=True, slots=True)
class SeedScores:
    """A score of several trainings, by seed."""

    title: str
    """The score's heading, with its unit."""
    digits: int
    """Digits after the point."""
    values: Mapping[int, float]
    """Seed -> score, in the title's unit."""

    @classmethod
    def from_stored(cls, score: str, values: Mapping[int, float]) -> SeedScores:
        """Scores of this name, such as "top1", from values as they are stored."""
        kind = Score.named(score)
        in_unit = {seed: kind.in_unit(value) for seed, value in values.items()}
        return cls(kind.heading, kind.digits, in_unit)

    def __sub__(self, other: SeedScores) -> SeedScores:
        """Differences seed by seed, over the seeds that both have."""
        shared = self.restricted_to(other).values
        values = {seed: value - other.values[seed] for seed, value in shared.items()}
        return SeedScores(self.title, self.digits, values)

    def restricted_to(self, other: SeedScores) -> SeedScores:
        """The scores of the seeds that `other` has too."""
        seeds = sorted(self.values.keys() & other.values.keys())
        return SeedScores(self.title, self.digits, {seed: self.values[seed] for seed in seeds})

    def data(self) -> dict[str, Any]:
        """For JSON: mean, standard deviation over the seeds, and all values."""
        mean, sd = spread(list(self.values.values()))
        return {"mean": mean, "sd": sd, "values": dict(sorted(self.values.items()))}

    def text(self, value: float, sign: str = "") -> str:
        """A value with the score's digits; sign "+" for differences."""
        return f"{value:{sign}.{self.digits}f}"


class Quantity(Protocol):
    """One side of a comparison."""

    def read(self, results: StoredResults) -> SeedScores:
        """Read the values by seed, for the seeds that have one.

        Raises:
            MissingResultError: no seed has one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Threshold:
    """A constant that the other side is compared with."""

    value: float

    def at_seeds_of(self, other: SeedScores) -> SeedScores:
        """The constant for each seed of the other side."""
        return SeedScores(other.title, other.digits, dict.fromkeys(other.values, self.value))


@dataclass(frozen=True, slots=True)
class ArmScore:
    """The ablation's score of the arm with these changes; without changes, of the base."""

    changes: Mapping[str, Any] = field(default_factory=dict)

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        score = results.ablation.result.metric
        return SeedScores.from_stored(score, results.values(self.changes))


@dataclass(frozen=True, slots=True)
class ScoreAtSteps:
    """The score of an arm at a number of sampling steps."""

    steps: int
    changes: Mapping[str, Any] = field(default_factory=dict)

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        # The arm without a change of `sampling.steps` is sampled as the base is.
        changes = dict(self.changes)
        if self.steps != _base_steps(results):
            changes["sampling.steps"] = self.steps
        return ArmScore(changes).read(results)


def _base_steps(results: StoredResults) -> Any:
    """Sampling steps in the base's recipe; the paper's, if its runs no longer exist."""
    for run in results.base_runs.values():
        return run.recipe_tables().get("sampling", {}).get("steps", BASE_STEPS)
    return BASE_STEPS


@dataclass(frozen=True, slots=True)
class GainOverSteps:
    """The increase of a score from fewer sampling steps to more."""

    first: ScoreAtSteps
    last: ScoreAtSteps

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        return self.last.read(results) - self.first.read(results)


@dataclass(frozen=True, slots=True)
class EpochMean:
    """The mean score of an arm over a fixed part of the training.

    Fixed parts, since the best epoch of a noisy curve is always above its last.
    """

    changes: Mapping[str, Any]
    start: float
    """The part is (start, end] of the epochs, both in [0, 1]."""
    end: float

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        runs, score = results.runs(self.changes), results.ablation.result.metric
        if not runs:
            arm = arm_text(self.changes) if self.changes else "the base"
            raise MissingResultError(f"the run folders of {arm} no longer exist")
        kind = Score.named(score)
        means = {seed: self._mean(run, score) for seed, run in runs.items()}
        return SeedScores(kind.heading, kind.digits, means)

    def _mean(self, run: Run, score: str) -> float:
        epochs = run.epochs or 0
        # A short training has no time to overfit, and its curve no decline.
        if epochs < FEWEST_EPOCHS:
            raise MissingResultError(
                f"not tested at this budget: {epochs} epochs, of at least {FEWEST_EPOCHS}"
            )
        line = accuracy_line("", run, score)
        points = [] if line is None else list(zip(line.x, line.y, strict=True))
        scores = [y for x, y in points if self.start * epochs < x <= self.end * epochs]
        if not scores:
            raise MissingResultError(
                "no epoch of that part was scored; train with training.evaluate_every=1"
            )
        return fmean(scores)


@dataclass(frozen=True, slots=True)
class MeanConfidence:
    """The mean probability of the base's answers after the last step, in percent."""

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        # Stored by bins of confidence: the mean over bins, weighted by their counts, is exact.
        values = {}
        for seed, row in _last_step_rows(results).items():
            bins = [each for each in row.reliability if each.count]
            total = sum(each.count * (each.confidence or 0.0) for each in bins)
            values[seed] = 100 * total / sum(each.count for each in bins)
        return SeedScores("mean confidence, %", 2, values)


@dataclass(frozen=True, slots=True)
class LastStepAccuracy:
    """The accuracy of the answers of `MeanConfidence`, in percent."""

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        rows = _last_step_rows(results)
        return SeedScores.from_stored("top1", {seed: row.top1 for seed, row in rows.items()})


def _last_step_rows(results: StoredResults) -> dict[int, ConfidenceRow]:
    """Seed -> the row of `addkit evaluate --uncertainty` for the last step, without scaling."""
    by_seed = {}
    for seed, run in results.base_runs.items():
        evaluation = RunFiles(run).evaluation
        # Claims are about test images; an evaluation of another split may be stored in its place.
        if evaluation is None or evaluation.uncertainty is None or evaluation.split != "test":
            continue
        for row in evaluation.uncertainty.rows:
            if row.confidence == "last" and not row.scaled:
                by_seed[seed] = row
    if not by_seed:
        raise MissingResultError(
            "no confidence of the last step is stored; `addkit evaluate --run RUN --uncertainty` "
            "stores it for a training of the base, and `addkit plot chain RUN -o chain.svg` draws "
            "how it arises"
        )
    return by_seed


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """A test score of the captioning runs, or of one of their controls."""

    score: str
    control: str | None = None

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        values = {}
        for seed, files in _captions(results).items():
            run = files.run if self.control is None else files.run.controls().get(self.control)
            # Scores of averaged weights are stored first.
            stored = next(iter(run.scores().values()), {}) if run else {}
            value = stored.get(self.score)
            if value is not None:
                values[seed] = value
        if not values:
            raise MissingResultError(f'no captioning run has a finished control "{self.control}"')
        return SeedScores.from_stored(self.score, values)


@dataclass(frozen=True, slots=True)
class CaptionCosine:
    """A row of table 3: the mean CLIP cosine of captions and test images."""

    row: str

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        values, models = {}, set()
        for seed, files in _captions(results).items():
            evaluation = files.evaluation
            if evaluation is None or evaluation.split != "test":
                continue
            scores = {row.name: row.clip for row in evaluation.table3 or []}.get(self.row)
            steps = files.manifest.chosen_steps or files.tables.get("sampling", {}).get("steps")
            # Table 3 is of the evaluation's last setting, which need not be the run's own.
            is_own = evaluation.results[-1].setting.steps == steps
            if is_own and scores is not None and scores.clip_cosine is not None:
                values[seed] = scores.clip_cosine
                models.add(evaluation.clip)
        if not values:
            raise MissingResultError(
                f'no CLIP score of the row "{self.row}" is stored; `addkit evaluate --run RUN '
                "--clip MODEL:WEIGHTS` stores it"
            )
        # Cosines of different CLIP models have different scales.
        if len(models) > 1:
            raise MissingResultError("the runs were scored by different CLIP models")
        return SeedScores.from_stored("clip_cosine", values)


@dataclass(frozen=True, slots=True)
class CaptionValidation:
    """The validation score at a number of steps, by which a captioning run chose its steps."""

    steps: int

    def read(self, results: StoredResults) -> SeedScores:
        """See `Quantity`."""
        runs = _captions(results)
        values = {
            seed: scores[str(self.steps)]
            for seed, files in runs.items()
            if str(self.steps) in (scores := files.manifest.chosen_from)
        }
        if not values:
            raise MissingResultError(
                'no captioning run was scored at several steps; `sampling.steps = "auto"` does so'
            )
        return SeedScores.from_stored(next(iter(runs.values())).headline.name, values)


def _captions(results: StoredResults) -> Mapping[int, RunFiles]:
    if not results.captions:
        raise MissingResultError(NO_CAPTIONS)
    return results.captions
