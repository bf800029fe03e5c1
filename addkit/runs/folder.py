"""A run: the folder with everything about one training. No torch.

recipe.toml     the resolved recipe; reading it again gives the same experiment
facts.json      facts of the data: K, class names, image size, split sizes
manifest.json   versions, plugins, hardware, counts, times, status and final scores
metrics.jsonl   a line for each logged step and each epoch
checkpoints/    step-NNNNNNNN/ folders, and `latest` and `best`, which name one of them each
lock            exists while a process writes to the run: its host and pid
controls/       the matched controls, each a run of its own
evaluation.json the last `addkit evaluate`
"""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from addkit.errors import RecipeError, RunError, UsageError, require_type
from addkit.plugin.registry import HASH, third_parties
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe, dump_recipe, recipe_from_tables
from addkit.runs.atomic import TEMPORARY, json_text, missing, write_text
from addkit.runs.checkpoint_files import pointed_at
from addkit.runs.disk import disk_errors
from addkit.runs.lock import is_lock

T = TypeVar("T")


class Stored(BaseModel):
    """A JSON object whose known keys are checked and whose other keys are kept."""

    # Kept, since another version of addkit may have written them. Strict: "3" is no number.
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class Environment(Stored):
    """Software and hardware of a training."""

    python: str | None = None
    packages: dict[str, str | None] = {}
    """Name -> version; None where it is not installed."""
    platform: str | None = None
    device: str | None = None
    cores: int | None = None
    threads: int | None = None
    components: dict[str, str] = {}
    """Kind -> `NAME (IDENTITY)`."""


class Manifest(Stored):
    """manifest.json: what a training has recorded so far; every key is absent at first."""

    recipe: str | None = None
    model_name: str | None = None
    seed: int | None = None
    headline: str | None = None
    """The task's own score."""
    status: str = "not begun"
    """`running` or `finished`; a killed training stays `running`."""
    plan: dict[str, int | float] = {}
    """Batches, steps and the peak learning rate."""
    parameters: dict[str, int] = {}
    data: dict[str, object] = {}
    """Notes of the data set."""
    environment: Environment = Environment()
    # int too: counts would become floats otherwise, in every output that prints them.
    scores: dict[str, dict[str, int | float | None]] = {}
    """Weights, `ema` or `raw` -> scores on the test split; empty before the end."""
    seconds: float | None = None
    """Time spent training, over all sessions."""
    command_started: str | None = None
    trained: str | None = None
    finished: str | None = None
    chosen_steps: int | None = None
    """Sampling steps chosen on the validation split, for `steps = "auto"`."""
    chosen_from: dict[str, float] = {}
    """Candidate steps -> headline."""

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole training."""
        return int(self.plan["steps"]) if "steps" in self.plan else None


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; raises `RunError` if there is none."""
    try:
        stored = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from error
    if not isinstance(stored, dict):
        raise RunError(f"{file}: not a JSON object")
    return stored


def read_typed(file: Path, kind: type[T]) -> T:
    """The JSON file as a dataclass or model; raises `RunError` naming every key of a wrong type."""
    try:
        # Not `validate_json`: an error of syntax is another one, with its own message.
        return TypeAdapter(kind).validate_python(read_json(file))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"{file}: cannot be used: {faults}") from error


RUNS = Path("runs")
"""The default folder of runs."""
FILES = r"recipe\.toml|facts\.json|manifest\.json|metrics\.jsonl|evaluation\.json|report\.html"
"""What is written into a run's folder, for `clean_temporaries`."""
NO_EFFECT = ("tracker",)
"""Kinds of components that do not change the result."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder. Every read raises a `RunError` that names the missing or broken file; every
    write, one that explains a full or read-only disk.
    """

    path: Path

    def __post_init__(self) -> None:
        """A text counts as a path."""
        require_type("path", self.path, str, Path)
        object.__setattr__(self, "path", Path(self.path))

    @classmethod
    def create(cls, path: Path, recipe: Recipe, facts: DataFacts) -> Run:
        """Make the folder and write the recipe and the facts."""
        run = cls(path)
        require_type("recipe", recipe, Recipe)
        require_type("facts", facts, DataFacts)
        with run._writing("checkpoints"):
            run.checkpoints.mkdir(parents=True, exist_ok=True)
        # The recipe last: a folder without one is no run yet, see `open`.
        stored = {**asdict(facts), "files": [str(file) for file in facts.files]}
        run._write("facts.json", json_text(stored))
        run._write("recipe.toml", dump_recipe(recipe))
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run."""
        run = cls(path)
        try:
            found = (run.path / "recipe.toml").is_file()
        except OSError as error:  # such as a name that is too long
            raise RunError(f"{path}: not a run ({error.strerror})") from None
        if not found:
            raise RunError(f"{path}: not a run (it has no recipe.toml)")
        return run

    def recipe(self, *, tracked: bool = True) -> Recipe:
        """The resolved recipe; not `tracked`: without its tracker, whose plugin may be missing."""
        tables = self.recipe_tables()
        if not tracked:
            tables.pop("tracker", None)
        try:
            return recipe_from_tables(tables, self.path / "recipe.toml")
        except RecipeError as error:
            # The manifest has the name and version of a plugin that is not installed any more.
            plugins = ", ".join(
                f"{kind} {identity}"
                for kind, identity in self.manifest().environment.components.items()
                if "(addkit " not in identity
            )
            made_with = f" This run was made with {plugins}." if plugins else ""
            raise RecipeError(f"{error}{made_with}") from error

    def recipe_tables(self) -> dict[str, Any]:
        """The resolved recipe as it is stored, unchecked."""
        file = self.path / "recipe.toml"
        try:
            return tomllib.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read: {error}") from error

    def facts(self) -> DataFacts:
        """Facts of the data that the run was trained on."""
        return read_typed(self.path / "facts.json", DataFacts)

    def manifest(self) -> Manifest:
        """Versions, counts, status; empty before training begins."""
        file = self.path / "manifest.json"
        return read_typed(file, Manifest) if file.exists() else Manifest()

    def changed_plugins(self, recipe: Recipe) -> list[str]:
        """`KIND was OLD and is NEW`, for each component whose code has changed since the training.

        Runs from before components had hashes are not compared.
        """
        names = {k: choice.name for k, choice in recipe.choices.items() if k not in NO_EFFECT}
        # Hashes, not versions: code under development changes without a new version.
        before = self.manifest().environment.components

        def digest(identity: str) -> str:
            return identity.rpartition(HASH)[2].rstrip(")")

        return [
            f"{kind} was {before[kind]} and is {now}"
            for kind, now in third_parties(names).items()
            if HASH in before.get(kind, "") and digest(before[kind]) != digest(now)
        ]

    def note(self, **entries: Any) -> None:
        """Add entries, named as the fields of `Manifest`, to manifest.json."""
        file = self.path / "manifest.json"
        # The file's own JSON rather than a `Manifest`: the order and the absence of keys stay.
        stored = read_json(file) if file.exists() else {}
        self._write(file.name, json_text({**stored, **entries}))

    def control(self, head: str) -> Run:
        """The matched control of that name; it may not exist."""
        return Run(self.path / "controls" / head)

    def controls(self) -> dict[str, Run]:
        """The finished matched controls by name."""
        files = sorted((self.path / "controls").glob("*/recipe.toml"))
        # An unfinished control has no scores to compare with.
        runs = {file.parent.name: Run(file.parent) for file in files}
        return {name: run for name, run in runs.items() if run.finished}

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Final scores on the test split by weights, `ema` and `raw`; empty before the end."""
        return self.manifest().scores

    @property
    def model_name(self) -> str:
        """The one name of this run's network: "ADD", "masked diffusion", "control, linear", ...

        Stored when training begins, so that reading it needs no plugin.
        """
        stored = self.manifest().model_name
        if stored is not None:
            return stored
        if self.path.parent.name == "controls":
            return f"control, {self.path.name}"
        try:
            return self.recipe(tracked=False).model_name
        except RecipeError:
            # Its plugin is missing; the name of the process is still in the file.
            return str(self.recipe_tables().get("process", {}).get("name", "model"))

    def models(self) -> dict[str, Run]:
        """The run and its finished controls, by `model_name`."""
        return {run.model_name: run for run in (self, *self.controls().values())}

    @property
    def finished(self) -> bool:
        """True once the training has ended."""
        return self.manifest().status == "finished"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to the metrics."""
        # One write, so that a kill cuts short the last line at most.
        line = json.dumps(entry) + "\n"
        with (
            self._writing("metrics.jsonl", line),
            (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file,
        ):
            file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """The logged lines, except a last one that a kill cut short."""
        file = self.path / "metrics.jsonl"
        entries = []
        for line in file.read_text("utf-8").splitlines() if file.exists() else ():
            # A line that is no JSON was cut short, or edited: the others still make a curve.
            with suppress(ValueError):
                entries.append(json.loads(line))
        return entries

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be taken again."""
        # A training resumes from its last checkpoint, which may be older than its last line.
        lines = [json.dumps(entry) + "\n" for entry in self.metrics() if entry["step"] <= step]
        self._write("metrics.jsonl", "".join(lines))

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text, self._newest)

    def _writing(self, name: str, text: str = "") -> AbstractContextManager[None]:
        """Explain an error of the disk by its effect on this run."""
        return disk_errors(self.path / name, len(text.encode()), self._newest)

    def _newest(self) -> Path | None:
        return pointed_at(self.checkpoints, "latest")


def begin_in(path: Path) -> frozenset[Path]:
    """What a run makes in a folder before its first checkpoint, as far as it does not exist: see
    `delete_made`. Raises `UsageError` for a folder in which no run may begin, since it has others'
    files: it must be new, empty, or left by a run that was killed as it began.
    """
    if path.is_file():
        raise UsageError(f"{path}: is a file; choose another folder")
    made = (path, *(path / name for name in ("checkpoints", "facts.json", "recipe.toml")))
    others = [entry for entry in path.iterdir() if not _left(entry)] if path.exists() else []
    if others:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        raise UsageError(
            f"{path}: has files that belong to no run ({min(others).name}{more}); choose another "
            "folder, or put back recipe.toml if this was a run"
        )
    return missing((*made, path / "manifest.json"))


def _left(entry: Path) -> bool:
    """True for what a run that was killed before it had a recipe may have left in its folder."""
    if entry.name == "facts.json":
        with suppress(RunError):
            return bool(Run(entry.parent).facts().split_sizes)
    if entry.name == "checkpoints":
        return entry.is_dir() and not any(entry.iterdir())
    temporary = TEMPORARY.fullmatch(entry.name)
    return is_lock(entry) or bool(temporary and re.fullmatch(FILES, temporary[1] or ""))


def newest_run(root: Path = RUNS, *, finished: bool = True, recipe: str | None = None) -> Run:
    """The run below `root` that was started or finished last. Raises `RunError` if there is none;
    names the command that makes one.

    Args:
        root: folder of run folders.
        finished: the state of the run.
        recipe: only runs of the recipe of this name.
    """
    # No deeper: controls and the trainings of ablations do not count.
    runs = [Run(file.parent) for file in root.glob("*/recipe.toml")]
    matching = [
        run
        for run in runs
        if run.finished == finished
        and (recipe is None or run.recipe_tables().get("name") == recipe)
    ]
    if not matching:
        state = "finished" if finished else "unfinished"
        of = f" of recipe {recipe}" if recipe else ""
        raise RunError(
            f"no {state} run{of} in {root}/; train one with `addkit train RECIPE`, "
            f"or name one with {'--run' if finished else '--run-dir'}"
        )
    return max(matching, key=lambda run: last_written(run.path))


def last_written(run: Path) -> float:
    """The time at which a run was last written to, by its manifest.

    A run that was killed as it began has no manifest yet.
    """
    files = [run / name for name in ("manifest.json", "recipe.toml")]
    return next((file for file in files if file.exists()), run).stat().st_mtime
