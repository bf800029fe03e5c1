"""From a recipe to a finished run: ADD, then its matched controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol

from addkit.model import Inference, problem_of
from addkit.plugin.protocols import Task
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.training.control import control_recipe, heads_of
from addkit.training.environment import environment, pick_device
from addkit.training.evaluation import Case, score_cases
from addkit.training.job import Job
from addkit.training.loop import StepReport, fit

__all__ = ["TrainResult", "View", "train"]


class View(Protocol):
    """Shows a training to a person."""

    def begin(self, title: str, total_steps: int, done: int) -> None:
        """A training starts or goes on."""
        ...

    def step(self, report: StepReport) -> None:
        """After each step."""
        ...

    def scored(self, split: str, top1: float) -> None:
        """After an accuracy on the way; in percent."""
        ...

    def end(self) -> None:
        """The training is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a finished run can show. Accuracies in percent on the test split."""

    run: str
    top1: float
    """With the recipe's read-out and the averaged weights."""
    control_top1: float | None
    """Of the linear control (or the first one); None where the recipe trains none."""
    seconds: float
    """Wall time of this command, controls included."""
    steps: int
    parameters: dict[str, int]
    scores: dict[str, dict[str, float]]
    """Weights (ema, raw) -> top1, top5, nll, brier, ece, count."""
    controls: dict[str, dict[str, dict[str, float]]]
    """Control -> weights -> scores."""


class _Recorder:
    """Writes metrics into the run, scores on the way and passes reports on to the view."""

    def __init__(self, view: View) -> None:
        self.view = view

    def step(self, report: StepReport) -> None:
        self.reports(report)
        self.view.step(report)

    def epoch(self, job: Job, epoch: int) -> None:
        training = job.recipe.training
        if (epoch + 1) % training.evaluate_every or epoch + 1 == training.epochs:
            return
        split = "validation" if "validation" in job.source.facts.split_sizes else "test"
        name = next(iter(job.weights))
        scores = score_weights(job, split, only=name)[name]
        job.run.log({"step": job.progress.step, "epoch": epoch + 1, "split": split, **scores})
        self.view.scored(split, scores["top1"])

    reports: Callable[[StepReport], None]


def train(recipe: Recipe, run: Run, view: View, device: str | None = None) -> TrainResult:
    """Train ADD and its controls into an open run; go on where a checkpoint stands.

    Args:
        recipe: the experiment; the run was created from it.
        run: an open run, new or interrupted.
        view: shows progress.
        device: None picks a GPU if there is one.
    """
    start = perf_counter()
    device = device or pick_device()
    if "command_started" not in run.manifest():
        run.note(command_started=_now(), status="running", recipe=recipe.name)
    scores = _train_one(recipe, run, view, device, "ADD")
    controls = {}
    for head in heads_of(recipe):
        matched = control_recipe(recipe, head, run.facts())
        inner = Run.create(run.control(head).path, matched, run.facts())
        controls[head] = _train_one(matched, inner, view, device, f"control, {head} head")
        inner.note(status="finished")
    run.note(status="finished", finished=_now())
    return _result(run, scores, controls, perf_counter() - start)


def _result(run: Run, scores: Any, controls: Any, seconds: float) -> TrainResult:
    manifest = run.manifest()
    first = next(iter(controls.values()), None)
    return TrainResult(
        run=str(run.path),
        top1=_best(scores)["top1"],
        control_top1=None if first is None else _best(first)["top1"],
        seconds=seconds,
        steps=manifest["plan"]["steps"],
        parameters=manifest["parameters"],
        scores=scores,
        controls=controls,
    )


def _best(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """The averaged weights' scores, or the raw ones'."""
    return next(iter(scores.values()))


def _train_one(
    recipe: Recipe, run: Run, view: View, device: str, title: str
) -> dict[str, dict[str, float]]:
    """Train one network to its end and score it; a run that is done tells its scores."""
    done = run.manifest().get("scores")
    if done is not None:
        return dict(done)
    job = Job.open(run, recipe, device)
    run.note(
        recipe=recipe.name,
        seed=recipe.seed,
        plan=asdict(job.plan),
        parameters=asdict(job.network.parameter_counts()),
        environment=environment(recipe, device),
    )
    view.begin(title, job.plan.steps, job.progress.step)
    recorder = _Recorder(view)
    recorder.reports = lambda report: run.log(asdict(report))
    try:
        fit(job, recorder)
        scores = score_weights(job, "test")
    finally:
        view.end()
    run.note(scores=scores, seconds=job.progress.seconds, trained=_now())
    return scores


def score_weights(job: Job, split: str, only: str | None = None) -> dict[str, dict[str, float]]:
    """Scores of the averaged and the raw weights with the recipe's read-out."""
    problem = problem_of(job.recipe, job.source.facts)
    choice = job.recipe.choices["task"]
    task: Task = choice.spec.build(choice.config, problem)
    images = job.source.split(split)
    case = Case(Inference.of(job.recipe, problem))
    scores = {}
    for name, network in job.weights.items():
        if only in (None, name):
            meters = score_cases(
                network,
                images,
                {"recipe": case},
                task,
                batch_size=job.recipe.sampling.batch_size,
                seed=job.recipe.seed,
                workers=job.recipe.distributed.workers,
            )
            scores[name] = asdict(meters["recipe"].compute())
    return scores


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
