"""Callbacks of a training: metrics and the best checkpoint, a tracker, a profile of some steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, schedule

from addkit.errors import AddkitWarning
from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import Inference, Network, problem_of
from addkit.planning.flops import mfu, peak_flops, step_flops
from addkit.plugin.protocols import Meter, Tracker
from addkit.runs.atomic import write_text
from addkit.runs.disk import disk_errors
from addkit.training.backend import peak_memory
from addkit.training.trainer import Callback, StepReport, Trainer


def meters_of(
    trainer: Trainer, split: str, steps: int | None = None, most: int = 2
) -> dict[str, Meter]:
    """A meter for the averaged and for the raw weights, with the recipe's sampling.

    Args:
        trainer: of the networks.
        split: of its data.
        steps: the chosen ones where the recipe has "auto".
        most: 1 for the averaged weights alone, or the raw ones where there are no others.
    """
    setting = {"recipe": Setting(_inference(trainer, steps))}
    networks = list(trainer.engine.networks().items())[:most]
    with trainer.saved_when_stopped():
        return {
            name: _evaluator(trainer, network, split).score(setting)["recipe"]
            for name, network in networks
        }


def choose_steps(trainer: Trainer) -> tuple[int, dict[int, float]]:
    """`Evaluator.best_steps` of the averaged weights, or raw ones where there are no others."""
    network = next(iter(trainer.engine.networks().values()))
    with trainer.saved_when_stopped():
        return _evaluator(trainer, network, "validation").best_steps(
            lambda steps: _inference(trainer, steps), trainer.task.headline
        )


def _inference(trainer: Trainer, steps: int | None) -> Inference:
    return Inference.of(trainer.recipe, problem_of(trainer.recipe, trainer.source.facts), steps)


def _evaluator(trainer: Trainer, network: Network, split: str) -> Evaluator:
    return Evaluator(
        network=network,
        images=trainer.splits[split],
        task=trainer.task,
        batch_size=trainer.recipe.sampling.batch_size,
        seed=trainer.recipe.seed,
        workers=trainer.workers,
        world=trainer.world,
        stop=trainer.stop,
    )


CHOOSING = "validation"
"""The split that may choose the best checkpoint; after a choice the test split tests nothing."""
EXAMPLES = 4
"""Answers shown with the truth while a caption model trains."""
BINS = 10
"""Bins of t in [0, 1), equally wide, of the losses by time."""


class LossByTime:
    """Weighted mean loss by t: ten bins, and t = T apart, where there is nothing but noise.

    Nothing is moved from the device before `take`, so that adding waits for nothing. `device` is
    that of the losses.
    """

    sums: Tensor
    """(2, 11), weights and weighted losses; to be summed over processes before `take`."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, BINS + 1, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, t: Tensor, losses: Tensor, weights: Tensor) -> None:
        """Tokens of a step: times in [0, 1], losses and how much each counts, (tokens,) each."""
        # The last bin takes what rounds up to 1 from below; t = T has a bin of its own.
        bins = torch.where(t < 1, (t * BINS).long().clamp(max=BINS - 1), BINS)
        # In fp64: an epoch adds up millions of small numbers.
        self.sums.index_add_(1, bins, torch.stack([weights, weights * losses]).double())

    def take(self) -> dict[str, float]:
        """Mean loss by `0.0-0.1`, ..., `0.9-1.0` and `T`, as under `loss_by_time` of metrics.jsonl.

        Bins without a token are left out. Begins anew.
        """
        names = [*(f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}" for i in range(BINS)), "T"]
        # The one wait for the device, once an epoch.
        weights, losses = self.sums.tolist()
        self.sums.zero_()
        rows = zip(names, weights, losses, strict=True)
        return {name: loss / weight for name, weight, loss in rows if weight}


class Metrics(Callback):
    """Writes metrics.jsonl, evaluates on the way, marks the best checkpoint, and ends a training
    whose score no longer rises.

    Every process scores its share of a split; rank 0 writes.
    """

    def begin(self, trainer: Trainer) -> None:
        """Read what was scored before a resume, and make up for a mark that a kill prevented."""
        self.losses = LossByTime(trainer.device)
        self.peak = peak_flops(trainer.device, trainer.recipe.training.precision)
        # Counted only where it can be compared with a peak: it takes a second or two.
        self.flops = step_flops(trainer.recipe, trainer.source.facts) if self.peak else 0
        lines = [line for line in trainer.run.metrics() if "split" in line]
        headline = trainer.task.headline
        # Of equal scores the later step is the best: on few images many are equal, and the first
        # of them comes from a training that has just begun. Patience counts from the first.
        chosen_by = [x for x in lines if x["split"] == CHOOSING and headline in x]
        values = [(x[headline], x["step"]) for x in chosen_by]
        best: tuple[float | None, int] = max(values, default=(None, 0))
        self.since_best: int
        first = min((step for value, step in values if value == best[0]), default=0)
        # A frozen encoder is first trained, however little the score rises until then.
        after = max(first, trainer.plan.unfreeze_step)
        since = sum(step > after for _, step in values)
        scored = {line["step"] for line in lines}
        # One process's files decide for all: the others may see them later, or not at all.
        self.scored_steps, (self.best, self.best_step), self.since_best = trainer.world.broadcast(
            (scored, best, since)
        )
        choosing = trainer.recipe.checkpoints.best
        if self.best is not None and self.best_step == trainer.progress.step and choosing:
            trainer.mark_best()
        # A training that has ended so is not continued.
        trainer.exhausted = self._exhausted(trainer)

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Log the step."""
        if report.timed is not None:
            self.losses.add(*report.timed)
        if not trainer.world.is_main:
            return
        line = report.line()
        rate = report.images / report.seconds
        line["images_per_second"] = rate
        # Operations are those of steps that train the encoder, where it is trained at all.
        if self.peak is not None and not (trainer.network.frozen and trainer.plan.unfreeze_step):
            line["mfu"] = mfu(self.flops, rate, self.peak * trainer.world.size)
        memory = peak_memory(trainer.device)
        if memory is not None:
            line["gpu_memory"] = memory
        trainer.log(line)

    def epoch(self, trainer: Trainer, epoch: int) -> None:
        """Log the epoch's losses by time; evaluate where it is due and was not done before.

        The last epoch is evaluated only to choose a checkpoint: the run's own scores follow.
        """
        step, plan = trainer.progress.step, trainer.plan
        position = {"step": step, "epoch": epoch + 1}
        # Also where nothing was added: all processes must call it.
        trainer.world.sum(self.losses.sums)
        by_time = self.losses.take()
        if by_time and trainer.world.is_main:
            trainer.log({**position, "loss_by_time": by_time})
        choosing = CHOOSING in trainer.source.facts.split_sizes
        last = epoch + 1 == plan.epochs
        due = choosing if last else (epoch + 1) % plan.evaluate_every == 0
        split = CHOOSING if choosing else "test"
        if not due or step in self.scored_steps or split not in trainer.source.facts.split_sizes:
            return
        # The averaged weights alone: on the way they are what a user would stop at.
        (meter,) = meters_of(trainer, split, most=1).values()
        scores = asdict(meter.compute())
        self.scored_steps.add(step)
        value = scores[trainer.task.headline]
        better = self.best is None or value > self.best
        if better:
            self.since_best = 0
        elif step > plan.unfreeze_step:
            self.since_best += 1
        if choosing and (better or value == self.best):
            self.best, self.best_step = value, step
            if trainer.recipe.checkpoints.best:
                # Before the score is logged: after a kill in between a resume scores and marks
                # again.
                trainer.mark_best()
        if trainer.world.is_main:
            trainer.log({**position, "split": split, **scores})
            for callback in trainer.callbacks:
                callback.scored(trainer, split, value, meter.examples(EXAMPLES))
        if self._exhausted(trainer) and not last:
            trainer.exhausted = True
            for callback in trainer.callbacks:
                callback.stopped_early(trainer, epoch + 1, self.best_step // plan.steps_per_epoch)

    def _exhausted(self, trainer: Trainer) -> bool:
        return 0 < trainer.recipe.training.patience <= self.since_best


class TrackerCallback(Callback):
    """Gives lines of metrics.jsonl to the recipe's tracker on rank 0.

    What a tracker raises is warned of once, and training continues: its plugin may be broken, or a
    server far away.

    Args:
        name: of the tracker, for the warning.
        tracker: None tracks nothing, as on other ranks.
    """

    def __init__(self, name: str, tracker: Tracker | None) -> None:
        self._name, self._tracker = name, tracker
        self._warned = False

    def begin(self, trainer: Trainer) -> None:
        """Name the run and its recipe."""
        path, tables = str(trainer.run.path), trainer.recipe.tables()
        self._try(lambda tracker: tracker.begin(path, tables))

    def log(self, trainer: Trainer, line: Mapping[str, Any]) -> None:
        """Log the numbers of a line."""
        self._try(lambda tracker: tracker.log(line["step"], numbers_of(line)))

    def end(self, trainer: Trainer) -> None:
        """Close it."""
        self._try(lambda tracker: tracker.close())

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:
            # Not BaseException: Ctrl-C in a tracker's network call ends the training as elsewhere.
            if self._warned:
                return
            self._warned = True
            warnings.warn(
                f'the tracker "{self._name}" failed ({type(error).__name__}: {error}); training '
                "continues, and metrics.jsonl has every line. This warning is not repeated",
                AddkitWarning,
                stacklevel=3,
            )


def numbers_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics.jsonl by name, its `step` aside.

    A nested one is called `parts/data`; one that was scored on a split `test/top1`.
    """

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{key}/")
            elif isinstance(value, int | float) and key != "step":
                yield f"{prefix}{key}", float(value)

    split = line.get("split")
    return dict(walk(line, f"{split}/" if split else ""))


class Profiler(Callback):
    """Profiles some steps of rank 0 into the folder `profile` of the run.

    `trace-rank0.json.gz` is for Perfetto or chrome://tracing, `operators.txt` for reading. A
    training that ends within these steps leaves what it has, one that ends before leaves nothing.

    Args:
        first_step: the first one profiled, counted from 1 when training starts or resumes: those
            before it allocate memory and choose kernels. The second at the earliest, since the
            profiler's own start takes one.
        steps: how many.
    """

    ROWS = 40
    """Rows in the table of operators."""

    def __init__(self, first_step: int = 10, steps: int = 5) -> None:
        self.paths: tuple[Path, ...] = ()
        """The files, once they are written."""
        self._first_step, self._steps = first_step, steps
        self._profile: profile | None = None

    def begin(self, trainer: Trainer) -> None:
        """Start the profiler, unless no step is left or this is another rank."""
        left = trainer.plan.steps - trainer.progress.step
        if not (trainer.world.is_main and left):
            return
        # Rank 0 alone: traces are large, and the ranks' steps are alike.
        self._on_gpu = torch.cuda.is_available()
        self._folder = trainer.run.path / "profile"
        first = min(self._first_step, left)
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])],
            schedule=schedule(wait=max(first - 2, 0), warmup=1, active=self._steps, repeat=1),
            on_trace_ready=self._write,
            acc_events=True,
        )
        self._profile.start()

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Count the step; the last one stops the profiler before anything is evaluated."""
        if self._profile is not None:
            self._profile.step()
            if report.step == trainer.plan.steps:
                self._stop()

    def end(self, trainer: Trainer) -> None:
        """Stop a profiler that an error has left, and name the files."""
        self._stop()
        if self.paths:
            for callback in trainer.callbacks:
                callback.profiled(trainer, self.paths)

    def _stop(self) -> None:
        if self._profile is not None:
            running, self._profile = self._profile, None
            running.stop()

    def _write(self, done: profile) -> None:
        trace = self._folder / "trace-rank0.json.gz"
        with disk_errors(trace):
            self._folder.mkdir(exist_ok=True)
            done.export_chrome_trace(str(trace))
        table = self._folder / "operators.txt"
        by = "self_device_time_total" if self._on_gpu else "self_cpu_time_total"
        write_text(table, done.key_averages().table(sort_by=by, row_limit=self.ROWS) + "\n")
        self.paths = (trace, table)
