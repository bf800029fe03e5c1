"""The run folder of a training: new, resumed, or started afresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from reprlib import repr as short
from typing import TypeAlias

from addkit.data.overview import check_data
from addkit.errors import AddkitError, RunError, Stopped, UsageError
from addkit.model import (
    InputPlan,
    build_data,
    build_network,
    fetch_weights,
    with_encoder_input,
)
from addkit.planning.batch_size import with_batch_size
from addkit.plugin.spec import Problem
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.recipe.differences import flat
from addkit.recipe.tables import Checkpoints, Distributed
from addkit.runs import RUNS, Run, newest_run
from addkit.runs.atomic import delete_made, unused
from addkit.runs.disk import disk_errors
from addkit.runs.folder import begin_in
from addkit.runs.lock import locked
from addkit.runs.packs import is_pack
from addkit.terminal import addkit_command
from addkit.training.checks import check_budget, check_shards, check_training
from addkit.training.plan import Plan

Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunLocation:
    """The run folder that a user asks for."""

    folder: Path | None = None
    """None: a new one below runs/, or the newest unfinished one."""
    resume: bool = False
    fresh: bool = False
    """Start anew; an old run in the folder is moved aside."""


def choose_run(
    recipe: Recipe, location: RunLocation, processes: int, note: Note
) -> tuple[Run, frozenset[Path]]:
    """A new run and all that was made for it, or the interrupted one to resume and nothing.

    Args:
        recipe: of the run.
        location: of its folder.
        processes: that will train it.
        note: called with each message for people, such as a line about the data.

    Raises:
        UsageError: the folder has another run or files of no run, or the recipe has changed since.
        RunError: nothing to resume, or another process writes to it.
    """
    path = location.folder
    if path is None:
        if not location.resume:
            base = RUNS / f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
            # A number behind it if another run began in the same second.
            others = (base.with_name(f"{base.name}-{number}") for number in range(2, 100))
            path = next(path for path in (base, *others) if not path.exists())
            return _create(path, *_checked(recipe, processes, note), processes)
        path = newest_run(finished=False, recipe=recipe.name).path
    if not (path / "recipe.toml").exists():
        # Before the data are read, which may take minutes.
        begin_in(path)
        return _create(path, *_checked(recipe, processes, note), processes)
    if is_pack(path):
        raise UsageError(f"{path}: has a pack, which is no run; choose another folder")
    if location.fresh:
        # Checked before the old run is moved: a recipe that cannot be trained moves nothing.
        recipe, facts = _checked(recipe, processes, note)
        with locked(path), disk_errors(path):
            old = unused(path, "old")
            path.rename(old)
            note(f"moved the old run to {old}")
        return _create(path, recipe, facts, processes)
    if not location.resume:
        raise UsageError(
            f"{path}: has a run already; continue it with --resume, or start anew with --fresh"
        )
    with locked(path):
        run = Run.open(path)
        run.begin()
        if plugins := run.changed_plugins(recipe):
            raise RunError(
                f"{path}: a plugin has changed since this run began: {'; '.join(plugins)}; "
                "bring the old one back, or use --fresh"
            )
        return _resumed(run, recipe, processes, note), frozenset()


@contextmanager
def clean_start(path: Path, made: frozenset[Path]) -> Iterator[None]:
    """A training that fails before its first checkpoint leaves no folder behind.

    Unless there is anything in it, such as logs, beyond what was made for it.
    """
    try:
        yield
    except Stopped:
        # Its message names --resume.
        raise
    except AddkitError:
        delete_made(path, made)
        raise


def _create(
    path: Path, recipe: Recipe, facts: DataFacts, processes: int
) -> tuple[Run, frozenset[Path]]:
    made = begin_in(path)
    with clean_start(path, made):
        # With the encoder's values written out: another timm may give others when it resumes.
        fixed = with_encoder_input(_with_micro_batch(recipe, facts, processes))
        return Run.create(path, fixed, facts), made


def _with_micro_batch(recipe: Recipe, facts: DataFacts, processes: int) -> Recipe:
    """The recipe with its micro-batch, so that another number of processes computes the same."""
    spread = recipe.distributed
    if processes == 1 or spread.per_process_batch is not None:
        return recipe
    micro = Plan.of(recipe, facts.split_sizes["train"], processes).per_process_batch
    fixed = spread.model_copy(update={"per_process_batch": micro})
    return replace(recipe, distributed=fixed)


def _checked(
    recipe: Recipe, processes: int, note: Note, *, new: bool = True
) -> tuple[Recipe, DataFacts]:
    """The recipe with its batch size, and facts of the data; raises what would fail later, before a
    folder is made or moved. Of a new run's data the overview is noted.
    """
    source = build_data(recipe)
    facts = source.facts
    check_training(recipe, facts)
    recipe = with_batch_size(recipe, facts, processes)
    plan = Plan.of(recipe, facts.split_sizes["train"], processes)
    check_shards(recipe, source, plan)
    if new:
        check_budget(recipe, facts, plan)
        if recipe.training.epochs == "auto":
            note(f"epochs, by the number of training images: {plan.epochs}")
    tracker = recipe.choices["tracker"]
    # A tracker whose package is missing fails here.
    tracker.spec.create(tracker.config, Problem())
    if new:
        for heading, text in (*check_data(source).rows(), *InputPlan.of(recipe, facts).rows()):
            note(f"{heading}: {text}")
    # On the meta device: shapes are checked without memory.
    build_network(recipe, facts, device="meta")
    fetch_weights(recipe)
    return recipe, facts


def _resumed(run: Run, recipe: Recipe, processes: int, note: Note) -> Run:
    """The run, if the recipe is still the one it began with; keys that may change are updated."""
    before, recipe = run.recipe(), with_encoder_input(recipe)
    if recipe.distributed.per_process_batch is None:
        # As it was when the run began, whatever number of processes resumes it.
        size = before.distributed.per_process_batch
        spread = recipe.distributed.model_copy(update={"per_process_batch": size})
        recipe = replace(recipe, distributed=spread)
    if recipe.training.batch_size == "auto":
        # Chosen by the memory of the machine on which the run began.
        chosen = before.training.batch_size
        training = recipe.training.model_copy(update={"batch_size": chosen})
        recipe = replace(recipe, training=training)
    old, new = flat(before.tables()), flat(recipe.tables())
    changes = {
        key: f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    }
    fixed = [change for key, change in changes.items() if key not in _changeable(recipe)]
    if fixed:
        more = f" (and {len(fixed) - 1} more)" if fixed[1:] else ""
        # Most often `--set` of the first command is missing in the second.
        same = addkit_command("train", run.path, "--resume")
        raise RunError(
            f"{run.path}: the recipe has changed since this run began: {fixed[0]}{more}; "
            f"continue the run as it is with `{same}`, or use --fresh"
        )
    # Raises where the batch cannot be divided among this number of processes.
    plan = Plan.of(recipe, run.facts().split_sizes["train"], processes)
    batch = run.manifest().plan.get("global_batch", plan.global_batch)
    if batch != plan.global_batch:
        # A batch that was lowered for few images is a multiple of the processes.
        raise RunError(
            f"{run.path}: began with batches of {batch} images, and {processes} processes would "
            f"take {plan.global_batch}; resume with a number of processes that divides {batch}"
        )
    if not changes:
        return run
    # Another folder may have other data, which only its facts show.
    (_, facts), facts_before = _checked(recipe, processes, note, new=False), run.facts()
    for name in ("num_classes", "class_names", "split_sizes"):
        was, is_ = getattr(facts_before, name), getattr(facts, name)
        # Names may be known only where the files are.
        if was and is_ and was != is_:
            raise RunError(
                f"{run.path}: the data have changed since this run began: {name} was "
                f"{short(was)} and is {short(is_)}; give the path of the same data, or use --fresh"
            )
    note(f"{run.path}: resumes although {', '.join(sorted(changes.values()))}")
    return Run.create(run.path, recipe, facts)


def _changeable(recipe: Recipe) -> set[str]:
    """Keys that may change on the way. The micro-batch apart, no bit of the result depends on them;
    it must be able to, since it may be too large for another machine.
    """
    fields = type(recipe.choices["data"].config).model_fields
    paths = {name for name, field in fields.items() if field.annotation in (Path, Path | None)}
    tracker = type(recipe.choices["tracker"].config)
    return {
        "tracker.name",
        "features.folder",
        *(f"checkpoints.{key}" for key in Checkpoints.model_fields if key != "use"),
        *(f"tracker.{key}" for key in tracker.model_fields),
        *(f"distributed.{key}" for key in Distributed.model_fields),
        *(f"data.{name}" for name in paths),
    }
