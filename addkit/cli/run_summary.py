"""Summaries and comparisons of run folders, for `addkit runs`. A broken run is one broken row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from time import time
from typing import Any

from addkit.errors import AddkitError, RunError
from addkit.recipe.differences import Difference, differences
from addkit.runs import Run
from addkit.runs.checkpoint_files import checkpoints_in, fault_of
from addkit.runs.folder import Manifest, last_written
from addkit.runs.lock import is_locked
from addkit.terminal import addkit_command

MARKS = ("recipe.toml", "manifest.json", "facts.json", "checkpoints")
"""A run's folder has at least one of these files, also after an accident."""
HARMLESS = {
    *("image_size", "mean", "std", "resize", "channels", "fit", "interpolation", "crop_share"),
    *("bad_files", "sampling", "validation", "train_size", "validation_size"),
}
"""Keys of data tables that do not change the test images and their labels."""
OTHER_DATA = "The data differ: scores on other images or labels are not subtracted from each other."
MALFORMED = (AddkitError, AttributeError, IndexError, KeyError, OSError, TypeError, ValueError)
"""Errors of reading a run whose files were edited or cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A run in one row."""

    run: str
    recipe: str | None = None
    headline: str | None = None
    score: float | None = None
    """The headline score of the averaged weights."""
    controls: dict[str, float | None] | None = None
    """Head -> its headline score."""
    steps: int | None = None
    age_seconds: int
    status: str = "broken"
    broken: str | None = None
    """The reason why the run cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """A run with everything that its files have."""

    run: str
    recipe: str | None
    headline: str | None
    score: float | None
    controls: dict[str, float | None] | None
    steps: int | None
    status: str
    seed: int | None
    facts: dict[str, object]
    plan: dict[str, int | float] | None
    parameters: dict[str, int] | None
    seconds: float | None
    finished: str | None
    chosen_steps: int | None
    scores: dict[str, dict[str, float | None]]
    """`MODEL, WEIGHTS` -> scores."""
    environment: dict[str, object]
    components: dict[str, str]
    files: dict[str, int]
    """Name -> bytes; of a folder those of all files in it."""
    checkpoints: dict[str, int]
    faults: list[str]
    """Missing and truncated files, those of controls included."""
    next: list[str]
    """Commands that continue from here."""


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """One score of several runs."""

    score: str
    values: list[float | None]
    differences: list[float | None]
    """Each minus the first; None where the run was scored on other data than the first."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs side by side."""

    runs: list[RunEntry]
    scores: list[ScoreComparison]
    data: list[Difference]
    """Keys that make the test images or labels of the runs differ."""
    recipe: list[Difference]
    environment: list[Difference]

    def columns(self) -> list[tuple[int, str]]:
        """(index, title) of each run whose scores are shown minus the first's."""
        names = [Path(entry.run).name for entry in self.runs]
        columns = []
        for index in range(1, len(names)):
            if any(row.differences[index] is not None for row in self.scores):
                title = f"{names[index]} minus {names[0]}" if len(names) > 2 else "difference"
                columns.append((index, title))
        return columns


def run_entries(root: Path) -> list[RunEntry]:
    """Every run below `root`, the newest first."""
    # Marks, not `Run.open`: a run that lost its recipe is listed as broken, not left out.
    folders = root.iterdir() if root.is_dir() else ()
    runs = [path for path in folders if any((path / mark).exists() for mark in MARKS)]
    entries = [run_entry(path) for path in sorted(runs, key=last_written, reverse=True)]
    # One that was moved away meanwhile is not broken.
    return [entry for entry in entries if entry.broken is None or Path(entry.run).exists()]


def run_entry(path: Path) -> RunEntry:
    """The row of a run; `broken` has the reason why it cannot be read."""
    # First, so that a broken run has its age too.
    age = round(time() - last_written(path))
    try:
        run = Run.open(path)
        manifest = run.manifest()
        headline = manifest.headline
        # A run that no process writes to is not running, whatever its manifest has.
        status = manifest.status
        if status == "running" and not is_locked(path):
            status = "stopped"
        return RunEntry(
            run=str(path),
            recipe=run.recipe_name,
            headline=headline,
            score=_final_scores(manifest).get(headline or ""),
            controls={
                head: _final_scores(control).get(headline or "")
                for head, control in run.control_manifests().items()
            },
            steps=manifest.steps,
            age_seconds=age,
            status=status,
        )
    except MALFORMED as error:
        return RunEntry(run=str(path), age_seconds=age, broken=_reason(error))


def _final_scores(manifest: Manifest) -> dict[str, float | None]:
    """Scores of the averaged weights, else of the raw ones."""
    # Empty until the training has ended.
    by_weights = manifest.scores
    return by_weights.get("ema") or by_weights.get("raw") or {}


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AddkitError) else f"{type(error).__name__}: {error}"


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Turn errors of malformed files into a `RunError`."""
    try:
        yield
    except AddkitError:
        raise
    except MALFORMED as error:
        raise RunError(f"{path}: its files cannot be used: {_reason(error)}") from error


def _entry_or_raise(path: Path) -> RunEntry:
    entry = run_entry(path)
    if entry.broken is not None:
        # Files of a run name themselves; another reason needs the folder.
        raise RunError(
            entry.broken
            if entry.broken.startswith(str(path))
            else f"{path}: its files cannot be used: {entry.broken}"
        )
    return entry


def run_details(path: Path) -> RunDetails:
    """Everything about a run; raises `RunError` if it is none, or is broken."""
    entry = _entry_or_raise(path)
    with _usable(path):
        run = Run.open(path)
        manifest, facts = run.manifest(), run.facts()
        if run.finished:
            again = [
                addkit_command("evaluate", "--run", path),
                addkit_command("sample", "--run", path, "IMAGE"),
                addkit_command("report", path),
            ]
        else:
            again = [addkit_command("train", path, "--resume")]
        return RunDetails(
            run=entry.run,
            recipe=entry.recipe,
            headline=entry.headline,
            score=entry.score,
            controls=entry.controls,
            steps=entry.steps,
            status=entry.status,
            seed=run.recipe_tables().get("seed"),
            facts={
                "classes": facts.num_classes,
                "labels": facts.num_tokens,
                "image_size": facts.image_size,
                "image_channels": facts.image_channels,
                "splits": dict(facts.split_sizes),
            },
            plan=manifest.plan or None,
            parameters=manifest.parameters or None,
            seconds=manifest.seconds,
            finished=manifest.finished,
            chosen_steps=manifest.chosen_steps,
            scores={
                f"{name}, {weights}": scores
                for name, model in run.models().items()
                for weights, scores in model.scores().items()
            },
            environment=manifest.environment.model_dump(exclude_unset=True, exclude={"components"}),
            components=manifest.environment.components,
            files={file.name: _size(file) for file in sorted(path.iterdir())},
            checkpoints={file.name: _size(file) for file in sorted(run.checkpoints.glob("step-*"))},
            faults=[
                f"{each.path / 'metrics.jsonl'}: missing"
                for each in (run, *run.controls().values())
                if each.manifest().metrics_sha256 and each.metrics_digest() is None
            ]
            + [
                fault
                for each in (run, *run.controls().values())
                for checkpoint in checkpoints_in(each.checkpoints)
                if (fault := fault_of(checkpoint, digests=False))
            ],
            next=again,
        )


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    # Checkpoints of a sharded training have sub-folders.
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Scores of runs with their differences to the first, and the keys that differ.

    A run that was scored on other images than the first has no differences of scores; `data` has
    the keys behind that. Raises `RunError` if a run is broken.
    """
    entries, scores, data, recipes, environments = [], [], [], [], []
    for path in paths:
        entries.append(_entry_or_raise(path))
        with _usable(path):
            run = Run.open(path)
            scores.append(_final_scores(run.manifest()))
            data.append(_test_data(run))
            recipes.append(run.recipe_tables())
            environments.append(run.manifest().environment.model_dump(exclude_unset=True))
    # Scores on other test images are shown, but a difference of them would mislead.
    comparable = [not differences([data[0], each]) for each in data]
    rows = []
    for name in dict.fromkeys(name for each in scores for name in each):
        values = [each.get(name) for each in scores]
        first = values[0]
        minus_first = [
            value - first if same and value is not None and first is not None else None
            for value, same in zip(values, comparable, strict=True)
        ]
        if any(value is not None for value in values):
            rows.append(ScoreComparison(name, values, minus_first))
    return Comparison(
        entries, rows, differences(data), differences(recipes), differences(environments)
    )


def _test_data(run: Run) -> dict[str, Any]:
    """The settings and facts that decide which images and labels a run's scores are about.

    Paths do not, if classes and numbers of images are the same: they may be another machine's.
    """
    facts = run.facts()
    table = run.recipe_tables().get("data", {})
    # A moved folder has the same images; its classes and counts are compared instead.
    ignored = HARMLESS | path_keys(table)
    return {
        "data": {key: value for key, value in table.items() if key not in ignored},
        "facts": {
            "classes": facts.num_classes,
            # Shortened: of a thousand names the first few are enough to see that they differ.
            "class_names": shortened(list(facts.class_names)),
            "test_images": facts.split_sizes.get("test"),
        },
    }


def path_keys(table: Mapping[str, Any]) -> set[str]:
    """Keys of a data table that are paths; the usual ones if its component is not installed."""
    from addkit.plugin.registry import UnknownComponent, load_registry

    try:
        config = load_registry().get("data", str(table.get("name"))).spec.settings
    except UnknownComponent:
        return {"root", "file"}
    paths = (Path, Path | None)
    return {name for name, field in config.model_fields.items() if field.annotation in paths}
