"""What run folders tell of themselves, as plain data. A broken one is told of, no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from reprlib import repr as short
from time import time
from typing import Any

from addkit.errors import AddkitError, RunError
from addkit.recipe.differences import differences
from addkit.runs import Run
from addkit.runs.lock import is_locked

MARKS = ("recipe.toml", "manifest.json", "facts.json", "checkpoints")
"""What makes a folder a run, or what is left of one."""
HARMLESS = {
    *("image_size", "mean", "std", "resize", "channels"),
    *("bad_files", "validation", "train_size", "validation_size"),
}
"""Keys of data tables that leave the test images and their labels what they are."""
OTHER_DATA = "The data differ: scores on other images or labels are not subtracted from each other."
MALFORMED = (AddkitError, AttributeError, IndexError, KeyError, OSError, TypeError, ValueError)
"""Nobody promises that a file of a run still holds what was once written."""


def run_entries(root: Path) -> list[dict[str, Any]]:
    """Every run below `root`, the newest first; `broken` says why one cannot be read."""
    folders = root.iterdir() if root.is_dir() else ()
    runs = [path for path in folders if any((path / mark).exists() for mark in MARKS)]
    return [entry(path) for path in sorted(runs, key=_touched, reverse=True)]


def entry(path: Path) -> dict[str, Any]:
    """A run in a line."""
    nothing = dict.fromkeys(("recipe", "headline", "score", "controls", "steps"))
    found = {"run": str(path), **nothing, "age_seconds": round(time() - _touched(path))}
    try:
        return {**found, **_line(Run.open(path)), "broken": None}
    except MALFORMED as error:
        return {**found, "status": "broken", "broken": _reason(error)}


def _line(run: Run) -> dict[str, Any]:
    manifest, recipe = run.manifest(), run.recipe_tables()
    headline = manifest.get("headline")
    return {
        "recipe": recipe.get("name"),
        "status": _status(run, manifest),
        "headline": headline,
        "score": _score(manifest, headline),
        "controls": {n: _score(one.manifest(), headline) for n, one in run.controls().items()},
        "steps": manifest.get("plan", {}).get("steps"),
    }


def _status(run: Run, manifest: Mapping[str, Any]) -> str:
    """What the manifest says; a run that nobody writes to is not running, whatever it says."""
    told = str(manifest.get("status", "not begun"))
    return "stopped" if told == "running" and not is_locked(run.path) else told


def _score(manifest: Mapping[str, Any], headline: str | None) -> float | None:
    scores: float | None = _scores(manifest).get(headline)
    return scores


def _scores(manifest: Mapping[str, Any]) -> dict[Any, Any]:
    """Those of the averaged weights, else of the others."""
    of_weights = manifest.get("scores", {})
    found: dict[Any, Any] = of_weights.get("ema") or of_weights.get("raw") or {}
    return found


def _touched(path: Path) -> float:
    """When the run was last written to."""
    files = [path / mark for mark in ("manifest.json", "recipe.toml")]
    return next((file.stat().st_mtime for file in files if file.exists()), path.stat().st_mtime)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, AddkitError) else f"{type(error).__name__}: {error}"


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Malformed files of a run as a `RunError`."""
    try:
        yield
    except AddkitError:
        raise
    except MALFORMED as error:
        raise RunError(f"{path}: its files cannot be used: {_reason(error)}") from error


def told(path: Path) -> dict[str, Any]:
    """Everything that a run knows of itself. Raises `RunError` if it is none, or is broken."""
    with _usable(path):
        run = Run.open(path)
        return {"run": str(path), **_line(run), **_more(run)}


def _more(run: Run) -> dict[str, Any]:
    manifest = run.manifest()
    environment = manifest.get("environment", {})
    return {
        "seed": run.recipe_tables().get("seed"),
        "facts": _facts(run),
        **{key: manifest.get(key) for key in ("plan", "parameters", "seconds", "finished")},
        "chosen_steps": manifest.get("chosen_steps"),
        "scores": dict(_all_scores(run)),
        "environment": {k: v for k, v in environment.items() if k != "components"},
        "components": environment.get("components", {}),
        "files": {file.name: _size(file) for file in sorted(run.path.iterdir())},
        "checkpoints": {file.name: _size(file) for file in sorted(run.checkpoints.glob("step-*"))},
        "next": list(_next(run)),
    }


def _facts(run: Run) -> dict[str, Any]:
    facts = run.facts()
    return {
        "classes": facts.num_classes,
        "labels": facts.num_tokens,
        "image_size": facts.image_size,
        "image_channels": facts.image_channels,
        "splits": dict(facts.split_sizes),
    }


def _all_scores(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """`ADD, ema` and so on -> scores."""
    for name, model in run.models().items():
        for weights, scores in model.manifest().get("scores", {}).items():
            yield f"{name}, {weights}", scores


def _size(path: Path) -> int:
    """Bytes of a file, or of all below a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _next(run: Run) -> Iterator[str]:
    """Commands that go on from here."""
    from shlex import quote

    path = quote(str(run.path))
    if not run.finished:
        yield f"addkit train {path} --resume"
        return
    yield f"addkit evaluate --run {path}"
    yield f"addkit sample --run {path} IMAGE"
    yield f"addkit report {path}"


def compared(paths: list[Path]) -> dict[str, Any]:
    """Runs side by side: scores and what each adds to the first's, and the keys that differ.

    A run that was scored on other images than the first has no differences of scores; `data` tells
    the keys that make them others.

    Raises `RunError` if one is broken.
    """
    for path in paths:
        with _usable(path):
            _line(Run.open(path))
            _tested_on(Run.open(path))
    runs = [Run.open(path) for path in paths]
    manifests = [run.manifest() for run in runs]
    scores = [_scores(manifest) for manifest in manifests]
    names = dict.fromkeys(name for one in scores for name in one)
    values = {name: [one.get(name) for one in scores] for name in names}
    tested = [_tested_on(run) for run in runs]
    same = [not differences([tested[0], one]) for one in tested]
    seen = [manifest.get("environment", {}) for manifest in manifests]
    return {
        "runs": [entry(path) for path in paths],
        "scores": [
            {"score": name, "values": each, "differences": _minus_first(each, same)}
            for name, each in values.items()
            if any(one is not None for one in each)
        ],
        "data": _varying(tested),
        "recipe": _varying([run.recipe_tables() for run in runs]),
        "environment": _varying(seen),
    }


def _tested_on(run: Run) -> dict[str, Any]:
    """What decides which images and labels a run's scores are of.

    Places do not, if classes and numbers of images are the same: they may be another machine's.
    """
    facts = run.facts()
    table = run.recipe_tables().get("data", {})
    kept = {key: value for key, value in table.items() if key not in HARMLESS | _places(table)}
    known = {
        "classes": facts.num_classes,
        "class_names": short(list(facts.class_names)),
        "test_images": facts.split_sizes.get("test"),
    }
    return {"data": kept, "facts": known}


def _places(table: Mapping[str, Any]) -> set[str]:
    """Keys of a data table that say where files lie; a name where its component is not here."""
    from addkit.plugin.registry import UnknownComponent, load_registry

    try:
        config = load_registry().get("data", str(table.get("name"))).spec.settings
    except UnknownComponent:
        return {"root", "file"}
    paths = (Path, Path | None)
    return {name for name, one in config.model_fields.items() if one.annotation in paths}


def subtracted(names: Sequence[str], found: Mapping[str, Any]) -> list[tuple[int, str]]:
    """(place, title) of each run whose scores are shown minus the first's, of `compared`'s."""
    rows = [row["differences"] for row in found["scores"]]
    places = range(1, len(names))
    fit = [place for place in places if any(row[place] is not None for row in rows)]
    alone = len(names) == 2
    return [(p, "difference" if alone else f"{names[p]} minus {names[0]}") for p in fit]


def _minus_first(values: list[float | None], same: list[bool]) -> list[float | None]:
    return [
        _minus(one, values[0]) if fits else None for one, fits in zip(values, same, strict=True)
    ]


def _minus(value: float | None, first: float | None) -> float | None:
    return None if value is None or first is None else value - first


def _varying(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": one.key, "values": list(one.values)} for one in differences(tables)]
