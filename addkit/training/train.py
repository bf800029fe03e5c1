"""From a recipe to a finished run: ADD, then its matched controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.training.checks import check_training
from addkit.training.control import control_recipe, heads_of
from addkit.training.environment import environment, pick_device
from addkit.training.job import Job
from addkit.training.loop import StepReport, fit
from addkit.training.scoring import choose_steps, meters_of, scores_of

__all__ = ["TrainResult", "View", "train"]

EXAMPLES = 4
"""Answers shown beside the truth while a caption model trains."""


class View:
    """What a training shows a person; this one shows nothing."""

    def begin(self, title: str, total_steps: int, done: int) -> None:
        """A training starts or goes on."""

    def step(self, report: StepReport) -> None:
        """After each step."""

    def scored(self, split: str, name: str, value: float) -> None:
        """After a score on the way: the task's headline."""

    def examples(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Truth and answer of some images, after a score on the way; may be empty."""

    def chosen(self, steps: int, name: str, values: Mapping[int, float]) -> None:
        """The steps that scored best on the validation split, where the recipe says auto."""

    def end(self) -> None:
        """The training is over."""


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
    scores: dict[str, dict[str, float]]
    """Weights (ema, raw) -> the task's scores."""
    controls: dict[str, dict[str, dict[str, float]]]
    """Control -> weights -> scores."""

    def data(self) -> dict[str, Any]:
        """As JSON has it: `top1` and `control_top1`, or whatever the headline is called."""
        told = asdict(self)
        headline = {
            self.metric: told.pop("value"),
            f"control_{self.metric}": told.pop("control_value"),
        }
        return {"run": told.pop("run"), **headline, **told}


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
        meter = meters_of(job, split, only=name)[name]
        scores, headline = scores_of(meter), job.task.headline
        job.run.log({"step": job.progress.step, "epoch": epoch + 1, "split": split, **scores})
        self.view.scored(split, headline, scores[headline])
        self.view.examples(meter.examples(EXAMPLES))

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
    check_training(recipe, run.facts())
    device = device or pick_device()
    if "command_started" not in run.manifest():
        run.note(command_started=_now(), status="running", recipe=recipe.name)
    scores = _train_one(recipe, run, view, device, _title(recipe))
    controls = {}
    for head in heads_of(recipe):
        matched = control_recipe(recipe, head, run.facts())
        inner = Run.create(run.control(head).path, matched, run.facts())
        controls[head] = _train_one(matched, inner, view, device, f"control, {head}")
        inner.note(status="finished")
    run.note(status="finished", finished=_now())
    return _result(run, scores, controls, perf_counter() - start)


def _title(recipe: Recipe) -> str:
    process = recipe.choices["process"].name
    return "ADD" if process == "gaussian" else process


def _result(run: Run, scores: Any, controls: Any, seconds: float) -> TrainResult:
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
        headline=job.task.headline,
        plan=asdict(job.plan),
        parameters=asdict(job.network.parameter_counts()),
        data=dict(job.source.facts.notes),
        environment=environment(recipe, device),
    )
    view.begin(title, job.plan.steps, job.progress.step)
    recorder = _Recorder(view)
    recorder.reports = lambda report: run.log(_logged(report))
    try:
        fit(job, recorder)
        scores = _final_scores(job, view)
    finally:
        view.end()
    run.note(scores=scores, seconds=job.progress.seconds, trained=_now())
    return scores


def _logged(report: StepReport) -> dict[str, Any]:
    return {key: value for key, value in asdict(report).items() if value is not None}


def _final_scores(job: Job, view: View) -> dict[str, dict[str, float]]:
    """On the test split, with steps that were chosen on another one."""
    steps = None
    if job.recipe.sampling.steps == "auto":
        steps, values = choose_steps(job)
        job.run.note(chosen_steps=steps, chosen_from={str(n): v for n, v in values.items()})
        view.chosen(steps, job.task.headline, values)
    meters = meters_of(job, "test", steps=steps)
    return {name: scores_of(meter) for name, meter in meters.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
