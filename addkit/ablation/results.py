"""Results of ablations: stored trainings and scores, rows of arms, result.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from addkit.evaluation.results import Score
from addkit.metrics.statistics import paired_interval, verdict
from addkit.plugin.registry import third_parties
from addkit.recipe import Recipe
from addkit.runs import RUNS, Run
from addkit.runs.atomic import write_json
from addkit.runs.disk import disk_errors
from addkit.runs.folder import read_typed
from addkit.version import __version__

ABLATIONS = RUNS / "ablations"

INFERENCE_TABLES = ("to_one", "sampler", "read_out", "sampling")
"""Tables that change the answers of a trained network and not its training."""
NEUTRAL_TABLES = ("name", "summary", "control", "ablation", "checkpoints", "tracker")
"""Entries that change neither the weights nor the answers."""


def training_key(recipe: Recipe) -> str:
    """Equal for recipes that train the same network with this version of addkit."""
    excluded = {*INFERENCE_TABLES, *NEUTRAL_TABLES}
    return _key_of({k: v for k, v in recipe.tables().items() if k not in excluded}, recipe)


def inference_key(recipe: Recipe) -> str:
    """Equal for recipes with the same inference settings."""
    return _key_of(inference_tables(recipe), recipe)


def inference_tables(recipe: Recipe) -> dict[str, Any]:
    """The tables of a recipe that set its inference."""
    return {key: value for key, value in recipe.tables().items() if key in INFERENCE_TABLES}


def _key_of(tables: Mapping[str, Any], recipe: Recipe) -> str:
    """A fingerprint of the tables and of the plugins' code behind their components.

    The code of a plugin may change while the recipe that names it stays the same.
    """
    # Only the plugins behind these tables: another sampler must not retrain a network.
    names = {kind: choice.name for kind, choice in recipe.choices.items() if kind in tables}
    plugins = third_parties(names)
    return fingerprint({**tables, "plugins": plugins} if plugins else tables)


def fingerprint(value: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the value's content, whatever the order of its keys."""
    # The version too: another one may train another network from the same recipe.
    text = json.dumps({"addkit": __version__, **value}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScores:
    """Scores of one training under one inference setting, on the test split."""

    headline: str
    """Name of the task's own score."""
    steps: int
    """Sampling steps, chosen on the validation split where the recipe has `auto`."""
    scores: dict[str, float | None]

    def write(self, file: Path) -> None:
        """Store them; a reader sees the whole file or none."""
        write_json(file, asdict(self))


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of trainings and scores that all ablations share."""

    root: Path = ABLATIONS

    def run(self, training: str) -> Run:
        """The training of that key; it may not exist yet."""
        return Run(self.root / "trained" / training)

    def scores_file(self, training: str, inference: str) -> Path:
        """The file for the scores of a training under an inference setting."""
        return self.root / "scored" / f"{training}-{inference}.json"

    def scores(self, training: str, inference: str) -> StoredScores | None:
        """The stored scores; None before they are computed."""
        file = self.scores_file(training, inference)
        return read_typed(file, StoredScores) if file.exists() else None

    def folder(self, name: str, key: str) -> Path:
        """The folder of one ablation."""
        # Eight digits distinguish the ablations of one recipe.
        return self.root / f"{name}-{key[:8]}"


RESULT = "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRow:
    """Scores of one arm over the seeds; None for a seed that failed."""

    name: str
    changes: dict[str, Any]
    """`table.key` -> value for every key of the resolved recipe that differs from the reference's;
    None for a key that its component lacks."""
    seeds: list[int]
    metric: str
    values: list[float | None]
    mean: float | None
    sd: float | None
    """Standard deviation over the seeds; None below two."""
    train_runs: int
    """Trainings that no row above has used."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """`table.key` -> value as it was asked for; `changes` has what follows from it too."""
    runs: list[str] = field(default_factory=list)
    """Run folders, one for each seed."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow(BaseRow):
    """An arm and its difference to its reference."""

    reference: str = "base"
    """The row that it is compared with: the base, or the base with the inference settings that
    this arm's components need."""
    difference: float | None
    """Mean over the seeds of arm minus reference, seed by seed."""
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
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RESULT, asdict(self))


def compare(base: BaseRow, arm: BaseRow, resolution: float = 0.0) -> ArmRow:
    """The arm's row: differences within pairs of one seed, since seeds move both arms alike.

    Args:
        base: the reference, the base itself or one of its variants.
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
        higher = not Score.named(arm.metric).lower_is_better
        conclusion = verdict(interval, higher_is_better=higher, seeds=len(pairs))
    row = asdict(arm)
    return ArmRow(
        **row, reference=base.name, difference=difference, low=low, high=high, verdict=conclusion
    )


def spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over the seeds that did not fail."""
    scores = [value for value in values if value is not None]
    if not scores:
        return None, None
    # n - 1 in the denominator: seeds are a sample.
    return fmean(scores), stdev(scores) if len(scores) > 1 else None
