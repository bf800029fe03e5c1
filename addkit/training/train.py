"""From a recipe to a finished run: its model, then its matched controls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from addkit.distributed.signals import StopSignals
from addkit.distributed.world import World
from addkit.errors import require_type
from addkit.evaluation.batches import scores_of
from addkit.evaluation.results import present
from addkit.metrics.tags import TagMeter
from addkit.model.predictor import Predictor, check_device, load
from addkit.notebook import table
from addkit.plugin.protocols import Meter
from addkit.plugin.spec import Problem
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.runs.folder import Manifest
from addkit.runs.lock import locked
from addkit.tasks.tags import Tags
from addkit.training.backend import environment, pick_device
from addkit.training.callbacks import (
    CHOOSING,
    Metrics,
    Profiler,
    TrackerCallback,
    choose_steps,
    meters_of,
)
from addkit.training.checks import check_training
from addkit.training.control import control_recipe, heads_of
from addkit.training.trainer import Callback, Trainer

Scores = dict[str, dict[str, float | None]]
"""Weights (ema, raw) -> the task's scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Scores of a finished run on the test split."""

    run: Run
    model_name: str
    """`Run.model_name`."""
    metric: str
    """The task's headline: top1 in percent, exact_match as a share."""
    value: float | None
    """With the recipe's read-out and the averaged weights; None where the data has no test
    split.
    """
    control_value: float | None
    """Of the first control; None where the recipe trains none."""
    seconds: float
    """Wall time of this command, controls included."""
    steps: int
    """Optimizer steps taken, which `training.patience` may have ended before the plan."""
    scored_step: int
    """Step of the checkpoint whose weights were scored and answer."""
    parameters: dict[str, int]
    scores: Scores
    controls: dict[str, Scores]
    """Control -> its scores."""
    never_predicted: dict[str, list[str]]
    """Model name -> classes that test images have and no answer has, of the averaged weights, or
    the raw ones where there are no others; without models that have none."""

    def load(self, *, weights: str = "ema", device: str = "cpu") -> Predictor:
        """Load the trained model; see `addkit.load`."""
        return load(self.run.path, weights=weights, device=device)

    def data(self) -> dict[str, Any]:
        """As JSON has it: `top1` and `control_top1`, or whatever the headline is called."""
        rest = asdict(self)
        del rest["run"]
        model_name, value = rest.pop("model_name"), rest.pop("value")
        headline = {self.metric: value, f"control_{self.metric}": rest.pop("control_value")}
        return {"run": str(self.run.path), "model_name": model_name, **headline, **rest}

    def _repr_html_(self) -> str:
        """The table of test scores, for notebooks."""
        models = {self.model_name: self.scores}
        models |= {f"control, {name}": scores for name, scores in self.controls.items()}
        rows = [(name, *pair) for name, scores in models.items() for pair in scores.items()]
        columns = present(scores for *_, scores in rows)
        return table(
            ["test", "weights", *(score.short_heading for score in columns)],
            [
                [name, weights, *(score.text(scores.get(score.name)) for score in columns)]
                for name, weights, scores in rows
            ],
            f"{self.run.path}: {self.steps:,} steps, {self.seconds:,.0f} s",
            words=2,
        )


@dataclass(frozen=True, slots=True)
class _Session:
    """What all trainings of a run share in this process."""

    callbacks: Sequence[Callback]
    device: str
    world: World
    stop: StopSignals
    profile: bool


def train(
    recipe: Recipe,
    run: Run,
    callbacks: Sequence[Callback] = (),
    device: str | None = None,
    world: World | None = None,
    *,
    profile: bool = False,
) -> TrainResult:
    """Train the recipe's model and its controls into a run; resume from its checkpoints.

    Every process of a world calls it. Rank 0 writes the run; its metrics, best checkpoint and
    tracker need no callback of the caller's.

    Args:
        recipe: the experiment; the run was created from it.
        run: new or interrupted.
        callbacks: such as a progress view; those that communicate must be on every process.
        device: None picks a GPU if there is one.
        world: the processes that share the work; None: this one alone.
        profile: write a profiler's trace of a few steps into the run.

    Raises:
        RunError: another process writes to this run.
        Stopped: a signal asked for it; all is saved.
    """
    start, world = perf_counter(), world or World()
    require_type("recipe", recipe, Recipe)
    require_type("run", run, Run)
    require_type("callbacks", callbacks, Sequence)
    for callback in callbacks:
        require_type("callbacks", callback, Callback)
    require_type("world", world, World)
    if device is not None:
        check_device(device)
    check_training(recipe, run.facts())
    owned = locked(run.path) if world.is_main else nullcontext()
    with StopSignals("continue with --resume") as stop, owned:
        session = _Session(callbacks, device or pick_device(), world, stop, profile)
        # A resumed run keeps the time at which it was first started.
        if world.is_main:
            run.begin()
            if run.manifest().command_started is None:
                run.note(command_started=_now(), status="running", recipe=recipe.name)
        scores = _train_network(recipe, run, session, recipe.model_name)
        controls = {head: _train_control(recipe, run, session, head) for head in heads_of(recipe)}
        if world.is_main:
            digest = run.metrics_digest()
            run.note(status="finished", finished=_now(), metrics_sha256=digest)
        # Nobody reads the run before rank 0 has written it.
        world.barrier()
    manifest = run.manifest()
    assert manifest.steps is not None  # noted when the training was opened
    metric = manifest.headline or "top1"
    # The averaged weights come first, the raw ones where there are no others.
    values = [next(iter(each.values()), {}).get(metric) for each in (scores, *controls.values())]
    return TrainResult(
        run=run,
        model_name=run.model_name,
        metric=metric,
        value=values[0],
        control_value=values[1] if controls else None,
        seconds=perf_counter() - start,
        steps=manifest.steps,
        scored_step=manifest.steps if manifest.scored_step is None else manifest.scored_step,
        parameters=manifest.parameters,
        scores=scores,
        controls=controls,
        never_predicted={
            name: names
            for name, model in run.models().items()
            if (names := model.manifest().never_predicted)
        },
    )


def _train_control(recipe: Recipe, run: Run, session: _Session, head: str) -> Scores:
    # The facts of the run, not of the data as they are now: K and sizes follow from them.
    matched = control_recipe(recipe, head, run.facts())
    inner = run.control(head)
    if session.world.is_main:
        Run.create(inner.path, matched, run.facts()).begin()
    session.world.barrier()
    unprofiled = replace(session, profile=False)
    scores = _train_network(matched, inner, unprofiled, f"control, {head}")
    if session.world.is_main:
        inner.note(status="finished", metrics_sha256=inner.metrics_digest())
    return scores


def _train_network(recipe: Recipe, run: Run, session: _Session, name: str) -> Scores:
    """Train one network to its end and score it; a finished run returns its stored scores."""
    world = session.world
    # Rank 0 decides, so that no process trains alone.
    manifest = world.broadcast(run.manifest() if world.is_main else Manifest())
    if manifest.trained:
        stored: Scores = manifest.scores
        return stored
    with closing(Trainer.open(run, recipe, session.device, world, session.stop, name)) as trainer:
        if world.is_main:
            run.note(
                recipe=recipe.name,
                model_name=name,
                seed=recipe.seed,
                headline=trainer.task.headline,
                plan=asdict(trainer.plan),
                parameters=asdict(trainer.network.parameter_counts()),
                data=dict(trainer.source.facts.notes),
                environment=environment(recipe, session.device).model_dump(),
            )
        choice = recipe.choices["tracker"]
        tracker = choice.spec.create(choice.config, Problem()) if world.is_main else None
        trainer.fit(
            [
                *([Profiler()] if session.profile else []),
                TrackerCallback(choice.name, tracker),
                Metrics(),
                *session.callbacks,
            ]
        )
        if world.is_main and trainer.progress.step < trainer.plan.steps:
            run.note(stopped_step=trainer.progress.step)
        if recipe.checkpoints.use == "best":
            scored_step = trainer.load_best()
            if world.is_main:
                run.note(scored_step=scored_step)
        meters = _final_meters(trainer)
    scores = {name: scores_of(meter) for name, meter in meters.items()}
    if world.is_main:
        run.note(
            scores=scores,
            never_predicted=[n for meter in [*meters.values()][:1] for n in meter.never_predicted],
            seconds=trainer.progress.seconds,
            trained=_now(),
        )
    return scores


def _final_meters(trainer: Trainer) -> dict[str, Meter]:
    """On the test split, with steps that were chosen on another one; empty where there is none."""
    steps = None
    if trainer.recipe.sampling.steps == "auto":
        # On the validation split: a choice on the test split would flatter its scores.
        steps, values = choose_steps(trainer)
        if trainer.world.is_main:
            chosen_from = {str(n): value for n, value in values.items()}
            trainer.run.note(chosen_steps=steps, chosen_from=chosen_from)
        for callback in trainer.callbacks:
            callback.steps_chosen(trainer, steps, values)
    sizes = trainer.source.facts.split_sizes
    if isinstance(trainer.task, Tags) and CHOOSING in sizes:
        (meter,) = meters_of(trainer, CHOOSING, steps=steps, most=1).values()
        assert isinstance(meter, TagMeter)
        trainer.task.thresholds = meter.best_thresholds()
        if trainer.world.is_main:
            trainer.run.note(thresholds=trainer.task.thresholds)
    if "test" not in sizes:
        return {}
    return meters_of(trainer, "test", steps=steps)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
