"""A run: the folder that holds everything about one training. No torch.

recipe.toml     the resolved recipe; reading it again gives the same experiment
facts.json      what was known of the data: K, class names, image size, split sizes
manifest.json   versions, plugins, hardware, counts, times, status and final scores
metrics.jsonl   a line for each logged step and each epoch
checkpoints/    step-NNNNNNNN/ folders, and `latest` and `best`, which name one of them each
lock            there while a process writes to the run: its host and pid
controls/       the matched classifiers, each a run of its own
evaluation.json the last `addkit evaluate`
"""

from __future__ import annotations

import json
import tomllib
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from addkit.errors import RecipeError, RunError
from addkit.plugin.facts import DataFacts
from addkit.recipe import Recipe, dump_recipe, recipe_from_tables
from addkit.recipe.upgrade import upgraded
from addkit.runs.atomic import json_text, write_text
from addkit.runs.disk import disk_errors
from addkit.runs.pointers import pointed_at
from addkit.runs.provenance import made_with

RUNS = Path("runs")
"""Where runs go when nobody says."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder. Every read raises `RunError` naming the file that is missing or broken; every
    write, one that tells of a full or read-only disk.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, recipe: Recipe, facts: DataFacts) -> Run:
        """Make the folder and write the recipe and the facts."""
        run = cls(path)
        with run._writing("checkpoints"):
            run.checkpoints.mkdir(parents=True, exist_ok=True)
        stored = {**asdict(facts), "files": [str(file) for file in facts.files]}
        run._write("facts.json", json_text(stored))
        run._write("recipe.toml", dump_recipe(recipe))
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run."""
        if not (path / "recipe.toml").is_file():
            raise RunError(f"{path}: not a run (it holds no recipe.toml)")
        return cls(path)

    def recipe(self, *, tracked: bool = True) -> Recipe:
        """The resolved recipe; not `tracked`, without a tracker, whose plugin may not be here."""
        tables = self.recipe_tables()
        if not tracked:
            tables.pop("tracker", None)
        try:
            return recipe_from_tables(tables, self.path / "recipe.toml")
        except RecipeError as error:
            # Whose component is missing, the manifest still knows.
            raise RecipeError(f"{error} {made_with(self.manifest())}".rstrip()) from error

    def recipe_tables(self) -> dict[str, Any]:
        """The resolved recipe as it is stored, in today's words, unchecked."""
        file = self.path / "recipe.toml"
        try:
            return upgraded(tomllib.loads(file.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read: {error}") from error

    def facts(self) -> DataFacts:
        """What was known of the data."""
        try:
            return TypeAdapter(DataFacts).validate_python(self._json("facts.json"))
        except ValidationError as error:
            what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise RunError(f"{self.path / 'facts.json'}: cannot be used: {what}") from error

    def manifest(self) -> dict[str, Any]:
        """Versions, counts, status; empty before training begins."""
        if not (self.path / "manifest.json").exists():
            return {}
        return self._json("manifest.json")

    def note(self, **entries: Any) -> None:
        """Add to the manifest."""
        self._write("manifest.json", json_text({**self.manifest(), **entries}))

    def control(self, head: str) -> Run:
        """The matched classifier of that name; it may not exist."""
        return Run(self.path / "controls" / head)

    def controls(self) -> dict[str, Run]:
        """The finished matched classifiers."""
        found = sorted((self.path / "controls").glob("*/recipe.toml"))
        runs = {file.parent.name: Run(file.parent) for file in found}
        return {name: run for name, run in runs.items() if run.finished}

    @property
    def model_name(self) -> str:
        """The one name of this run's network: "ADD", "masked diffusion", "control, linear", ...

        Stored when training begins, so that reading it needs no plugin.
        """
        stored = self.manifest().get("model_name")
        if stored is not None:
            return str(stored)
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
        """True once training has come to its end."""
        return self.manifest().get("status") == "finished"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to the metrics."""
        line = json.dumps(entry) + "\n"
        with (
            self._writing("metrics.jsonl", line),
            (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file,
        ):
            file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """The logged lines; a last line that a kill cut short is left out."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [entry for entry in map(_parsed, lines) if entry is not None]

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be taken again."""
        kept = [json.dumps(entry) for entry in self.metrics() if entry["step"] <= step]
        self._write("metrics.jsonl", "".join(line + "\n" for line in kept))

    def _write(self, name: str, text: str) -> None:
        with self._writing(name, text):
            write_text(self.path / name, text)

    def _writing(self, name: str, text: str = "") -> AbstractContextManager[None]:
        """Tells what a full or closed disk means for this run."""
        newest = partial(pointed_at, self.checkpoints, "latest")
        return disk_errors(self.path / name, len(text.encode()), newest)

    def _json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        try:
            stored = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read: {error}") from error
        if not isinstance(stored, dict):
            raise RunError(f"{file}: holds no object")
        return stored


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return entry


def newest_run(root: Path = RUNS, *, finished: bool = True, recipe: str | None = None) -> Run:
    """The run below `root` that began or finished last.

    Args:
        root: folder of run folders.
        finished: look for a finished run; False for an unfinished one.
        recipe: only runs of the recipe of this name.

    Raises:
        RunError: there is none; says what to do.
    """
    runs = [Run(file.parent) for file in root.glob("*/recipe.toml")]
    fit = [run for run in runs if run.finished == finished and _is_of(run, recipe)]
    if not fit:
        state = "finished" if finished else "unfinished"
        of = f" of recipe {recipe}" if recipe else ""
        raise RunError(
            f"no {state} run{of} in {root}/; train one with `addkit train RECIPE`, "
            f"or name one with {'--run' if finished else '--run-dir'}"
        )
    return max(fit, key=_touched)


def _touched(run: Run) -> float:
    """When the manifest was last written; a run killed as it began has none yet."""
    manifest = run.path / "manifest.json"
    return (manifest if manifest.exists() else run.path / "recipe.toml").stat().st_mtime


def _is_of(run: Run, recipe: str | None) -> bool:
    return recipe is None or run.recipe_tables().get("name") == recipe
