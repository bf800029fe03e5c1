"""A run: the folder with everything about one training. No torch.

recipe.toml     the resolved recipe; reading it again gives the same experiment
facts.json      facts of the data: K, class names, image size, split sizes
manifest.json   versions, plugins, hardware, counts, times, status and final scores
metrics.jsonl   a line for each logged step and each epoch
checkpoints/    step-NNNNNNNN/ folders, and `latest` and `best`, which name one of them each
lock            exists while a process writes to the run: its host and pid
controls/       the matched controls, each a run of its own
evaluation.json the last `addkit evaluate`

recipe.toml and the JSON files contain their own checksum, and the manifest that of metrics.jsonl
once the training has ended, so that a damaged file is not read as if it were whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from addkit.errors import AddkitWarning, RecipeError, RunError, UsageError, require_type
from addkit.plugin.registry import HASH, third_parties
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe, dump_recipe, recipe_from_tables
from addkit.runs.atomic import TEMPORARY, json_text, missing, whole_file, write_text
from addkit.runs.checkpoint_files import pointed_at
from addkit.runs.disk import disk_errors
from addkit.runs.lock import is_lock
from addkit.terminal import addkit_command

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
    never_predicted: list[str] = []
    """Classes that images of the test split have and no answer of the first of these weights has.
    """
    seconds: float | None = None
    """Time spent training, over all sessions."""
    command_started: str | None = None
    trained: str | None = None
    finished: str | None = None
    stopped_step: int | None = None
    """The last optimizer step of a training that `training.patience` ended; None: of the plan."""
    scored_step: int | None = None
    """Step of the checkpoint whose weights were scored and answer; None: the last."""
    chosen_steps: int | None = None
    """Sampling steps chosen on the validation split, for `steps = "auto"`."""
    chosen_from: dict[str, float] = {}
    """Candidate steps -> headline."""
    thresholds: dict[str, float] = {}
    """Tags: probability from which each is present, chosen on the validation split."""
    metrics_sha256: str | None = None
    """Of metrics.jsonl at the end of the training."""

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the whole training."""
        if self.stopped_step is not None:
            return self.stopped_step
        return int(self.plan["steps"]) if "steps" in self.plan else None


MetricsLine: TypeAlias = dict[str, Any]
"""A line of metrics.jsonl, as JSON."""

CHECKSUM = "sha256"
"""The key of a file's checksum of its own other keys."""


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the checksum that `read_json` compares."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return {**value, CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


class Logged(Stored):
    """A line of metrics.jsonl: an optimizer step, or an epoch's losses by noise level or scores."""

    __pydantic_extra__: dict[str, int | float | bool | None]
    step: int
    epoch: int = 0
    split: str = ""
    loss: int | float = 0
    parts: dict[str, int | float] = {}
    loss_by_time: dict[str, int | float] = {}


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, without its checksum. Raises `RunError` if there is none; warns if
    it does not fit its checksum.
    """
    try:
        stored = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from error
    if not isinstance(stored, dict):
        raise RunError(f"{file}: not a JSON object")
    written = stored.pop(CHECKSUM, None)
    if written is not None and written != sealed(stored)[CHECKSUM]:
        _warn_altered(file, f'entry "{CHECKSUM}"')
    return stored


def _warn_altered(file: Path, checksum: str) -> None:
    # No error, as for weights: text may have been changed on purpose.
    text = f"{file}: altered: its checksum differs; put back a copy, or delete its {checksum}"
    warnings.warn(f"{text} if you changed it on purpose", AddkitWarning, stacklevel=3)


def read_typed(file: Path, kind: type[T]) -> T:
    """The JSON file as a dataclass or model; raises `RunError` naming every key of a wrong type."""
    try:
        # Not `validate_json`: an error of syntax is another one, with its own message.
        value: T = _adapter(kind).validate_python(read_json(file))
        return value
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"{file}: cannot be used: {faults}") from error


# Built once for each type: that takes longer than to validate a file.
_adapter: Callable[[Any], TypeAdapter[Any]] = lru_cache(TypeAdapter)


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
        run._write("facts.json", json_text(sealed(stored)))
        run._write("recipe.toml", _with_checksum(dump_recipe(recipe)))
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
        """The resolved recipe as it is stored: its tables are tables, and no more is checked."""
        return self._tables(whole=True)

    @property
    def recipe_name(self) -> str:
        """The name of the recipe."""
        return str(self._tables(whole=False)["name"])

    def _tables(self, *, whole: bool) -> dict[str, Any]:
        """The recipe's tables, or the values above the first of them: parsing takes the longest."""
        file = self.path / "recipe.toml"
        try:
            text = file.read_text("utf-8")
            tables = tomllib.loads(text if whole else text.partition("\n[")[0])
        except (OSError, ValueError) as error:
            raise RunError(f"{file}: cannot be read: {error}; put back a copy") from error
        first, _, rest = text.partition("\n")
        if first.startswith(f"# {CHECKSUM}") and text != _with_checksum(rest):
            _warn_altered(file, "first line")
        if not isinstance(tables.get("name"), str):
            raise RunError(f"{file}: not a run's recipe: it has no name; put back a copy")
        for key, value in tables.items():
            if not isinstance(value, dict) and key not in ("name", "summary", "seed"):
                raise RunError(f"{file}: {key}: a table is needed, and it is {value!r}")
        return tables

    def facts(self) -> DataFacts:
        """Facts of the data that the run was trained on."""
        return read_typed(self.path / "facts.json", DataFacts)

    def manifest(self) -> Manifest:
        """Versions, counts, status; empty before training begins. Raises `RunError` if it is
        broken, or is missing although there are metrics.
        """
        file, begun = self.path / "manifest.json", (self.path / "metrics.jsonl").exists()
        if not file.exists() and not begun:
            return Manifest()
        try:
            return read_typed(file, Manifest)
        except RunError as error:
            # A control is trained with its run.
            whole = self.path.parent.parent if self.path.parent.name == "controls" else self.path
            again = addkit_command("train", whole, "--resume")
            remedy = f"put back a copy; without the file `{again}` writes it anew"
            raise RunError(f"{error}; {remedy}") from error

    def begin(self) -> None:
        """Write an empty manifest where there is none; a training fills it in."""
        if not (self.path / "manifest.json").exists():
            self.note()

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
        self._write(file.name, json_text(sealed({**stored, **entries})))

    def control(self, head: str) -> Run:
        """The matched control of that name; it may not exist."""
        return Run(self.path / "controls" / head)

    def controls(self) -> dict[str, Run]:
        """The finished matched controls by name."""
        return {name: self.control(name) for name in self.control_manifests()}

    def control_manifests(self) -> dict[str, Manifest]:
        """The manifests of `controls`. Raises `RunError` for one that is missing or broken."""
        folders = sorted((self.path / "controls").glob("*/"))
        # An unfinished control has no scores to compare with.
        manifests = {path.name: self.control(path.name).manifest() for path in folders}
        return {name: each for name, each in manifests.items() if each.status == "finished"}

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Final scores on the test split by weights, `ema` and `raw`; empty before the end."""
        return self.manifest().scores

    @property
    def epochs(self) -> int | None:
        """Passes over the training images; None before a training with `epochs = "auto"`."""
        # Runs from before that setting have the number in their recipe alone.
        recipe = self.recipe_tables().get("training", {}).get("epochs")
        epochs = self.manifest().plan.get("epochs", recipe)
        return None if epochs in (None, "auto") else int(epochs)

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

    def log(self, entry: MetricsLine) -> None:
        """Append a line to the metrics."""
        # One write, so that a kill cuts short the last line at most.
        line = json.dumps(entry) + "\n"
        with (
            self._writing("metrics.jsonl", line),
            (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file,
        ):
            file.write(line)

    def metrics(self) -> list[MetricsLine]:
        """The logged lines, except a last one that a kill cut short. Warns of others that cannot be
        used, and of a file that has changed since the training ended.
        """
        lines = [(number, entry) for number, (_, entry) in enumerate(self._logged(), 1)]
        damaged = [number for number, entry in lines if entry is None]
        file, written = self.path / "metrics.jsonl", None
        if (self.path / "manifest.json").exists() and self.finished:
            written = self.manifest().metrics_sha256
        if written is not None and written != self.metrics_digest():
            text = f"{file}: altered since the training ended: its checksum differs"
            warnings.warn(text, AddkitWarning, stacklevel=2)
        if damaged:
            text = f"{file}: line {damaged[0]} cannot be used and is left out"
            more = f", as are {len(damaged) - 1} more" if damaged[1:] else ""
            warnings.warn(f"{text}{more}", AddkitWarning, stacklevel=2)
        return [entry for _, entry in lines if entry is not None]

    def _logged(self) -> list[tuple[bytes, MetricsLine | None]]:
        """Each line of the metrics and its content; None where it cannot be used."""
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        try:
            lines = file.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise RunError(f"{file}: cannot be read: {error}") from error
        logged = [(line, _entry(line)) for line in lines]
        # A kill cuts short the last line at most.
        cut = logged and logged[-1][1] is None and not lines[-1].endswith(b"\n")
        return logged[:-1] if cut else logged

    def metrics_digest(self) -> str | None:
        """SHA-256 of metrics.jsonl; None if there is none."""
        file = self.path / "metrics.jsonl"
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that will be taken again."""
        # A training resumes from its last checkpoint, which may be older than its last line. Lines
        # that cannot be used stay as they are: they may be mended by hand.
        lines = [
            line.rstrip(b"\r\n") + b"\n"
            for line, entry in self._logged()
            if entry is None or entry["step"] <= step
        ]
        content = b"".join(lines)
        file = self.path / "metrics.jsonl"
        with whole_file(file, len(content), self._newest) as temporary:
            temporary.write_bytes(content)

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


def _with_checksum(recipe: str) -> str:
    # In the first line, which a truncated file still has.
    return f"# {CHECKSUM} of what follows: {hashlib.sha256(recipe.encode()).hexdigest()}\n{recipe}"


def _entry(line: bytes) -> MetricsLine | None:
    """A line of the metrics; None if it is none."""
    try:
        entry = json.loads(line)
        _adapter(Logged).validate_python(entry)
    except ValueError:
        return None
    return dict(entry)


def newest_run(root: Path = RUNS, *, finished: bool = True, recipe: str | None = None) -> Run:
    """The run below `root` that was started or finished last. Raises `RunError` if there is none;
    names the command that makes one. Warns of runs that cannot be read, if they are newer.

    Args:
        root: folder of run folders.
        finished: the state of the run.
        recipe: only runs of the recipe of this name.
    """
    # No deeper: controls and the trainings of ablations do not count.
    runs = [Run(file.parent) for file in root.glob("*/recipe.toml")]
    faults: list[str] = []

    def matches(run: Run) -> bool:
        try:
            return run.finished == finished and recipe in (None, run.recipe_name)
        except RunError as error:
            faults.append(str(error))
            return False

    # The newest first: of thousands of runs, only a few are read.
    newest = sorted(runs, key=lambda run: last_written(run.path), reverse=True)
    match = next(filter(matches, newest), None)
    if faults:
        more = f" (and {len(faults) - 1} more such runs)" if faults[1:] else ""
        warnings.warn(f"left out: {faults[0]}{more}", AddkitWarning, stacklevel=2)
    if match is None:
        state = "finished" if finished else "unfinished"
        of = f" of recipe {recipe}" if recipe else ""
        raise RunError(
            f"no {state} run{of} in {root}/; train one with `addkit train RECIPE`, "
            f"or name one with {'--run' if finished else '--run-dir'}"
        )
    return match


def last_written(run: Path) -> float:
    """The time at which a run was last written to, by its manifest; 0 if it is gone.

    A run that was killed as it began has no manifest yet.
    """
    for file in (run / "manifest.json", run / "recipe.toml", run):
        with suppress(OSError):
            return file.stat().st_mtime
    return 0.0
