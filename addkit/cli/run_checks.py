"""Which run folder a training writes to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from reprlib import repr as short

from addkit.cli.output import note
from addkit.cli.run_location import Place
from addkit.errors import AddkitError, RunError, UsageError
from addkit.model import build_data, build_network
from addkit.plugin.facts import DataFacts
from addkit.plugin.spec import Problem
from addkit.recipe import Recipe
from addkit.recipe.model import Checkpoints, Distributed
from addkit.runs import RUNS, Run, newest_run
from addkit.runs.lock import LOCK, MARKER, locked
from addkit.training.checks import check_shards, check_training
from addkit.training.plan import Plan


def choose_run(recipe: Recipe, place: Place, processes: int) -> Run:
    """A new run, or the interrupted one to go on with.

    Args:
        recipe: of the run.
        place: where it is or may be.
        processes: that will train it.

    Raises:
        UsageError: the folder holds another run, or the recipe has changed since.
        RunError: nothing to resume, or another process writes to it.
    """
    path = place.folder
    if path is None:
        if not place.resume:
            return _create(_unused(recipe.name), recipe, processes)
        path = newest_run(finished=False, recipe=recipe.name).path
    if not (path / "recipe.toml").exists():
        return _create(_empty(path), recipe, processes)
    if place.fresh:
        facts = _facts(recipe, processes)
        with locked(path):
            _move_aside(path)
        return Run.create(path, _shared_out(recipe, processes), facts)
    if not place.resume:
        raise UsageError(
            f"{path}: holds a run already; go on with --resume, or begin anew with --fresh"
        )
    with locked(path):
        _refuse_other_plugins(Run.open(path), recipe)
        return _same(Run.open(path), recipe, processes)


@contextmanager
def clean_start(run: Run) -> Iterator[None]:
    """A training that fails before its first checkpoint leaves no folder behind.

    Unless its error names a log in it.
    """
    try:
        yield
    except AddkitError as error:
        # A lock is another process's: this one has given its own back.
        begun = (run.checkpoints / "latest").exists() or any(
            (run.path / name).exists() for name in (LOCK, MARKER)
        )
        if not begun and str(run.path / "logs") not in str(error):
            shutil.rmtree(run.path)
        raise


def _create(path: Path, recipe: Recipe, processes: int) -> Run:
    return Run.create(path, _shared_out(recipe, processes), _facts(recipe, processes))


def _shared_out(recipe: Recipe, processes: int) -> Recipe:
    """The recipe with its micro-batch, so that another number of processes computes the same."""
    spread, batch = recipe.distributed, recipe.training.batch_size
    if processes == 1 or spread.per_process_batch is not None:
        return recipe
    fixed = spread.model_copy(update={"per_process_batch": batch // processes})
    return replace(recipe, distributed=fixed)


def _facts(recipe: Recipe, processes: int) -> DataFacts:
    """Of the recipe's data. What cannot be trained is refused before a folder is made or moved."""
    source = build_data(recipe)
    facts = source.facts
    check_training(recipe, facts)
    check_shards(recipe, source, Plan.of(recipe, facts.split_sizes["train"], processes))
    tracker = recipe.choices["tracker"]
    tracker.spec.create(tracker.config, Problem())
    build_network(recipe, facts, device="meta")
    return facts


def _unused(name: str) -> Path:
    """runs/NAME-TIME, with a number behind it if another run began in the same second."""
    base = RUNS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    others = (base.with_name(f"{base.name}-{number}") for number in range(2, 100))
    return next(path for path in (base, *others) if not path.exists())


def _empty(path: Path) -> Path:
    """A folder to begin in: new, empty, or left by a run that was killed as it began."""
    allowed = {"checkpoints", "facts.json", LOCK, MARKER}
    if path.is_file():
        raise UsageError(f"{path}: is a file; choose another folder")
    if path.exists() and any(
        entry.name not in allowed and not entry.name.endswith(".tmp") for entry in path.iterdir()
    ):
        raise UsageError(f"{path}: holds files that are no run; choose another folder")
    return path


def _move_aside(path: Path) -> None:
    old = next(
        candidate
        for number in range(1, 1000)
        if not (candidate := path.with_name(f"{path.name}.old-{number}")).exists()
    )
    path.rename(old)
    note(f"moved the old run to {old}")


def _refuse_other_plugins(run: Run, recipe: Recipe) -> None:
    if others := run.changed_plugins(recipe):
        raise RunError(
            f"{run.path}: a plugin has changed since this run began: {'; '.join(others)}; "
            "bring the old one back, or use --fresh"
        )


def _same(run: Run, recipe: Recipe, processes: int) -> Run:
    """The run, if the recipe is still the one it began with; what may change is taken over."""
    before = run.recipe()
    if recipe.distributed.per_process_batch is None:
        # As it was when the run began, whatever number of processes goes on with it.
        kept = before.distributed.per_process_batch
        spread = recipe.distributed.model_copy(update={"per_process_batch": kept})
        recipe = replace(recipe, distributed=spread)
    changes = _changes(before, recipe)
    free = _free(recipe) & changes.keys()
    bound = [key for key in changes if key not in free]
    if bound:
        more = f" (and {len(bound) - 1} more)" if bound[1:] else ""
        raise RunError(
            f"{run.path}: the recipe has changed since this run began: {bound[0]} was "
            f"{changes[bound[0]]}{more}; undo it, or use --fresh"
        )
    Plan.of(recipe, run.facts().split_sizes["train"], processes)
    told = [f"{key} was {changes[key]}" for key in free]
    return _moved(run, recipe, processes, told) if free else run


def _changes(before: Recipe, now: Recipe) -> dict[str, str]:
    """Dotted key -> "OLD and is NEW"."""
    old, new = _flat(before.tables()), _flat(now.tables())
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return {key: f"{old.get(key)!r} and is {new.get(key)!r}" for key in keys}


def _free(recipe: Recipe) -> set[str]:
    """Keys that may change on the way. The micro-batch apart, no bit of the result depends on them;
    it must be able to, since another machine may not hold it.
    """
    fields = type(recipe.choices["data"].config).model_fields
    places = {name for name, field in fields.items() if field.annotation in (Path, Path | None)}
    tracker = recipe.choices["tracker"].config
    how = {f"checkpoints.{key}" for key in Checkpoints.model_fields}
    how |= {"tracker.name", *(f"tracker.{key}" for key in type(tracker).model_fields)}
    spread = {f"distributed.{key}" for key in Distributed.model_fields}
    return {*how, *spread, *(f"data.{name}" for name in places)}


def _moved(run: Run, recipe: Recipe, processes: int, changes: list[str]) -> Run:
    """The run with its new recipe, if its data are what they were."""
    facts, before = _facts(recipe, processes), run.facts()
    for what in ("num_classes", "class_names", "split_sizes"):
        old, new = getattr(before, what), getattr(facts, what)
        # Names may be known only where the files are.
        if old and new and old != new:
            raise RunError(
                f"{run.path}: the data have changed since this run began: {what} was "
                f"{short(old)} and is {short(new)}; name the place of the same data, or use --fresh"
            )
    note(f"{run.path}: goes on although {', '.join(sorted(changes))}")
    return Run.create(run.path, recipe, facts)


def _flat(tables: dict[str, object]) -> dict[str, object]:
    """Dotted keys -> values."""
    flat: dict[str, object] = {}
    for table, value in tables.items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{table}.{key}".rstrip("."): entry for key, entry in inner.items()}
    return flat
