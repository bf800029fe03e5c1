"""From a recipe to a finished run: ADD, then its matched controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from addkit.distributed.signals import StopSignals
from addkit.distributed.world import World
from addkit.plugin.spec import Problem
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.runs.lock import locked
from addkit.trackers.safe import SafeTracker
from addkit.training.checks import check_training
from addkit.training.control import control_recipe, heads_of
from addkit.training.environment import environment, pick_device
from addkit.training.job import Job
from addkit.training.loop import fit
from addkit.training.profiling import ProfileWindow
from addkit.training.recorder import Recorder
from addkit.training.scoring import choose_steps, meters_of, scores_of
from addkit.training.view import View

Scores = dict[str, dict[str, float]]
"""Weights (ema, raw) -> the task's scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a finished run can show, of the test split."""

    run: str
    metric: str
    """The task's headline: top1 in percent, exact_match as a share."""
    value: float
    """With the recipe's read-out and the averaged weights."""
    control_value: float | None
    """Of the first control; None where the recipe trains none."""
    seconds: float
    """Wall time of this command, controls included."""
    steps: int
    parameters: dict[str, int]
    scores: Scores
    controls: dict[str, Scores]
    """Control -> its scores."""

    def data(self) -> dict[str, Any]:
        """As JSON has it: `top1` and `control_top1`, or whatever the headline is called."""
        told = asdict(self)
        headline = {
            self.metric: told.pop("value"),
            f"control_{self.metric}": told.pop("control_value"),
        }
        return {"run": told.pop("run"), **headline, **told}


@dataclass(frozen=True, slots=True)
class _Where:
    """What all trainings of a run share."""

    view: View
    device: str
    world: World
    stop: StopSignals
    profile: bool = False


FIRST_PROFILED = 10
"""Step; those before it allocate memory and choose kernels."""


def train(
    recipe: Recipe,
    run: Run,
    view: View,
    device: str | None = None,
    world: World | None = None,
    *,
    profile: bool = False,
) -> TrainResult:
    """Train ADD and its controls into an open run; go on where a checkpoint stands.

    Every process of a world calls this. The leading one writes and shows; its view counts.

    Args:
        recipe: the experiment; the run was created from it.
        run: an open run, new or interrupted.
        view: shows progress.
        device: None picks a GPU if there is one.
        world: the processes that share the work; None: this one alone.
        profile: write a profiler's trace of a few steps into the run.

    Raises:
        RunError: another process writes to this run.
        Stopped: a signal asked for it; all is saved.
    """
    start, world = perf_counter(), world or World()
    check_training(recipe, run.facts())
    owned = locked(run.path) if world.is_main else nullcontext()
    with owned, StopSignals() as stop:
        where = _Where(view, device or pick_device(), world, stop, profile)
        if world.is_main and "command_started" not in run.manifest():
            run.note(command_started=_now(), status="running", recipe=recipe.name)
        scores = _train_one(recipe, run, where, _title(recipe))
        controls = {head: _train_control(recipe, run, where, head) for head in heads_of(recipe)}
        if world.is_main:
            run.note(status="finished", finished=_now())
        world.barrier()
    return _result(run, scores, controls, perf_counter() - start)


def _title(recipe: Recipe) -> str:
    process = recipe.choices["process"].name
    return "ADD" if process == "gaussian" else process


def _result(
    run: Run, scores: Scores, controls: Mapping[str, Scores], seconds: float
) -> TrainResult:
    manifest = run.manifest()
    metric = manifest.get("headline", "top1")
    first = next(iter(controls.values()), None)
    return TrainResult(
        run=str(run.path),
        metric=metric,
        value=_best(scores)[metric],
        control_value=None if first is None else _best(first)[metric],
        seconds=seconds,
        steps=manifest["plan"]["steps"],
        parameters=manifest["parameters"],
        scores=scores,
        controls=dict(controls),
    )


def _best(scores: Scores) -> dict[str, float]:
    """The averaged weights' scores, or the raw ones'."""
    return next(iter(scores.values()))


def _train_control(recipe: Recipe, run: Run, where: _Where, head: str) -> Scores:
    matched = control_recipe(recipe, head, run.facts())
    inner, where = run.control(head), replace(where, profile=False)
    if where.world.is_main:
        Run.create(inner.path, matched, run.facts())
    where.world.barrier()
    scores = _train_one(matched, inner, where, f"control, {head}")
    if where.world.is_main:
        inner.note(status="finished")
    return scores


def _train_one(recipe: Recipe, run: Run, where: _Where, title: str) -> Scores:
    """Train one network to its end and score it; a run that is done tells its scores."""
    world, view = where.world, where.view
    done: Scores | None = world.broadcast(run.manifest().get("scores") if world.is_main else None)
    if done is not None:
        return dict(done)
    with closing(Job.open(run, recipe, where.device, world, where.stop)) as job:
        if world.is_main:
            _note_beginning(job, where.device)
        view.begin(title, job.plan.steps, job.progress.step)
        try:
            with _tracked(job) as tracker, _profiled(job, where) as window:
                fit(job, Recorder(job, view, tracker, window))
            scores = _final_scores(job, view)
        finally:
            view.end()
    if world.is_main:
        run.note(scores=scores, seconds=job.progress.seconds, trained=_now())
    return scores


@contextmanager
def _tracked(job: Job) -> Iterator[SafeTracker]:
    choice = job.recipe.choices["tracker"]
    built = choice.spec.create(choice.config, Problem()) if job.world.is_main else None
    tracker = SafeTracker(choice.name, built)
    tracker.begin(str(job.run.path), job.recipe.tables())
    try:
        yield tracker
    finally:
        tracker.close()


@contextmanager
def _profiled(job: Job, where: _Where) -> Iterator[ProfileWindow | None]:
    """A look at some steps of the leading process; of ADD alone, not of its controls."""
    left = job.plan.steps - job.progress.step
    if not (where.profile and job.world.is_main and left):
        yield None
        return
    with ProfileWindow(job.run.path, min(FIRST_PROFILED, left)) as window:
        yield window
    where.view.profiled(window.paths)


def _note_beginning(job: Job, device: str) -> None:
    job.run.note(
        recipe=job.recipe.name,
        seed=job.recipe.seed,
        headline=job.task.headline,
        plan=asdict(job.plan),
        parameters=asdict(job.network.parameter_counts()),
        data=dict(job.source.facts.notes),
        environment=environment(job.recipe, device),
    )


def _final_scores(job: Job, view: View) -> Scores:
    """On the test split, with steps that were chosen on another one."""
    steps = None
    if job.recipe.sampling.steps == "auto":
        steps, values = choose_steps(job)
        if job.world.is_main:
            job.run.note(chosen_steps=steps, chosen_from={str(n): v for n, v in values.items()})
        view.chosen(steps, job.task.headline, values)
    meters = meters_of(job, "test", steps=steps)
    return {name: scores_of(meter) for name, meter in meters.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
