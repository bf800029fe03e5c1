"""What a claim may compare, and where in the stored results it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

from addkit.evaluation.results import ConfidenceRow
from addkit.report.run_files import RunFiles, accuracy_line
from addkit.runs import Run
from addkit_paper.claims.series import NotThereError, Series, series
from addkit_paper.claims.stored_results import Evidence, said

BASE_STEPS = 20
"""Of the paper, and of recipes/ablation.toml."""
FEWEST_EPOCHS = 30
"""Below this no training has had the time to overfit."""
NO_CAPTIONS = "no caption runs were given; `addkit claims --captions RUN ...`"


class Reading(Protocol):
    """One side of a comparison."""

    def of(self, evidence: Evidence) -> Series:
        """Its values by seed. Raises `NotThereError`."""
        ...


@dataclass(frozen=True, slots=True)
class Level:
    """A number that a claim names."""

    value: float

    def against(self, other: Series) -> Series:
        """The number for every seed of the other side."""
        return Series(other.title, other.digits, dict.fromkeys(other.values, self.value))


@dataclass(frozen=True, slots=True)
class Arm:
    """The ablation's score of the arm with these changes; without any, of the base."""

    changes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, evidence: Evidence) -> Series:
        """By seed."""
        return series(evidence.ablation.result.metric, evidence.values(self.changes))


@dataclass(frozen=True, slots=True)
class Steps:
    """The same at a number of sampling steps."""

    steps: int
    changes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, evidence: Evidence) -> Series:
        """By seed; the arm without a number of steps has the base's."""
        if self.steps != _base_steps(evidence):
            return Arm({**self.changes, "sampling.steps": self.steps}).of(evidence)
        return Arm(self.changes).of(evidence)


def _base_steps(evidence: Evidence) -> Any:
    """Of the base's recipe, or the paper's where its trainings are gone."""
    for run in evidence.base_runs.values():
        return run.recipe_tables().get("sampling", {}).get("steps", BASE_STEPS)
    return BASE_STEPS


@dataclass(frozen=True, slots=True)
class Gain:
    """What more sampling steps add."""

    first: Steps
    last: Steps

    def of(self, evidence: Evidence) -> Series:
        """By seed, last minus first."""
        return self.last.of(evidence) - self.first.of(evidence)


@dataclass(frozen=True, slots=True)
class Epochs:
    """The mean score over a part of the training.

    Fixed parts, since the best epoch of a noisy curve is always better than its last.
    """

    changes: Mapping[str, Any]
    start: float
    """Of the epochs, in [0, 1]; itself left out."""
    end: float

    def of(self, evidence: Evidence) -> Series:
        """By seed."""
        runs, score = evidence.runs(self.changes), evidence.ablation.result.metric
        if not runs:
            named = f"`{said(self.changes)}`" if self.changes else "the base"
            raise NotThereError(f"the trainings of {named} are not there any more")
        percent = series(score, {})
        return Series(
            percent.title, percent.digits, {s: self._mean(run, score) for s, run in runs.items()}
        )

    def _mean(self, run: Run, score: str) -> float:
        epochs = int(run.recipe_tables()["training"]["epochs"])
        if epochs < FEWEST_EPOCHS:
            raise NotThereError(
                f"not tested at this budget: {epochs} epochs; it takes {FEWEST_EPOCHS} at least"
            )
        line = accuracy_line("", run, score)
        points = [] if line is None else list(zip(line.x, line.y, strict=True))
        found = [y for x, y in points if self.start * epochs < x <= self.end * epochs]
        if not found:
            raise NotThereError("no epoch of that part was scored; training.evaluate_every=1 does")
        return fmean(found)


@dataclass(frozen=True, slots=True)
class Confidence:
    """The mean probability of the base's answers, as `addkit evaluate --uncertainty` stored it."""

    def of(self, evidence: Evidence) -> Series:
        """By seed, in percent."""
        rows = _last_step(evidence)
        return Series("mean confidence, %", 2, {s: _mean_confidence(r) for s, r in rows.items()})


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often these answers are right."""

    def of(self, evidence: Evidence) -> Series:
        """By seed, in percent."""
        return series("top1", {seed: row.top1 for seed, row in _last_step(evidence).items()})


def _last_step(evidence: Evidence) -> dict[int, ConfidenceRow]:
    found = {}
    for seed, run in evidence.base_runs.items():
        evaluation = RunFiles(run).evaluation
        if evaluation is None or evaluation.uncertainty is None or evaluation.split != "test":
            continue
        for row in evaluation.uncertainty.rows:
            if row.confidence == "last" and not row.scaled:
                found[seed] = row
    if not found:
        raise NotThereError(
            "no confidence of the last step is stored; `addkit evaluate --run RUN --uncertainty` "
            "stores it for a training of the base, and `addkit plot chain RUN -o chain.svg` draws "
            "how it comes about"
        )
    return found


def _mean_confidence(row: ConfidenceRow) -> float:
    bins = [each for each in row.reliability if each.count]
    total = sum(each.count * (each.confidence or 0.0) for each in bins)
    return 100 * total / sum(each.count for each in bins)


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """A test score of the caption runs, or of one of their controls."""

    score: str
    control: str | None = None

    def of(self, evidence: Evidence) -> Series:
        """By seed, for the runs that have it."""
        found = {seed: self._score(files) for seed, files in _captions(evidence).items()}
        known = {seed: value for seed, value in found.items() if value is not None}
        if not known:
            raise NotThereError(f'no caption run has a finished control "{self.control}"')
        return series(self.score, known)

    def _score(self, files: RunFiles) -> float | None:
        run = files.run if self.control is None else files.run.controls().get(self.control)
        if run is None:
            return None
        # Averaged weights come first.
        scores = next(iter(run.scores().values()), {})
        return scores.get(self.score)


@dataclass(frozen=True, slots=True)
class CaptionCosine:
    """A row of table 3: the mean CLIP cosine of its captions with the test images."""

    row: str

    def of(self, evidence: Evidence) -> Series:
        """By seed, for the runs that have it."""
        runs = _captions(evidence)
        told = {seed: self._cosine(files) for seed, files in runs.items()}
        found = {seed: value for seed, value in told.items() if value is not None}
        if not found:
            raise NotThereError(
                f'no CLIP score of the row "{self.row}" is stored; `addkit evaluate --run RUN '
                "--clip MODEL:WEIGHTS` stores it"
            )
        models = {runs[seed].evaluated().clip for seed in found}
        if len(models) > 1:
            raise NotThereError("the runs were scored by different CLIP models")
        return series("clip_cosine", found)

    def _cosine(self, files: RunFiles) -> float | None:
        evaluation = files.evaluation
        if evaluation is None or evaluation.split != "test":
            return None
        # ADD's row is the last setting of the evaluation, which need not be the run's own.
        if evaluation.results[-1].setting.steps != _own_steps(files):
            return None
        rows = {row.name: row.clip for row in evaluation.table3 or []}
        clip = rows.get(self.row)
        return None if clip is None else clip.clip_cosine


def _own_steps(files: RunFiles) -> Any:
    return files.manifest.get("chosen_steps") or files.tables.get("sampling", {}).get("steps")


@dataclass(frozen=True, slots=True)
class CaptionChoice:
    """The validation score by which the steps of a caption run were chosen."""

    steps: int

    def of(self, evidence: Evidence) -> Series:
        """By seed."""
        runs = _captions(evidence)
        found = {
            seed: stored[str(self.steps)]
            for seed, files in runs.items()
            if str(self.steps) in (stored := files.manifest.get("chosen_from", {}))
        }
        if not found:
            raise NotThereError(
                'no caption run was scored at several steps; `sampling.steps = "auto"` does so'
            )
        return series(next(iter(runs.values())).headline.name, found)


def _captions(evidence: Evidence) -> Mapping[int, RunFiles]:
    if not evidence.captions:
        raise NotThereError(NO_CAPTIONS)
    return evidence.captions
