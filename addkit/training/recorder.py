"""What a training leaves behind on its way: metrics, scores, and which checkpoint was the best."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from addkit.planning.flops import mfu, peak_flops, step_flops
from addkit.plugin.protocols import Meter
from addkit.plugin.values import TimedLosses
from addkit.trackers.safe import SafeTracker
from addkit.training.job import Job
from addkit.training.loop import StepReport
from addkit.training.loss_by_time import LossByTime
from addkit.training.profiling import ProfileWindow
from addkit.training.scoring import meters_of, scores_of
from addkit.training.stopwatch import peak_memory
from addkit.training.view import View

CHOOSING = "validation"
"""The split by which a checkpoint may be called the best; by the test split it would be no test."""
EXAMPLES = 4
"""Answers shown beside the truth while a caption model trains."""


class Recorder:
    """A `Watcher` that every process has: each scores its share, the leading one writes and shows.

    Args:
        job: about to go on; all processes must build their recorders together.
        view: shows progress.
        tracker: follows it elsewhere.
        window: looks at some steps in detail.
    """

    def __init__(
        self, job: Job, view: View, tracker: SafeTracker, window: ProfileWindow | None = None
    ) -> None:
        self.view, self.tracker, self.window = view, tracker, window
        self.losses = LossByTime(job.device)
        self.peak = peak_flops(job.device, job.recipe.training.precision)
        self.flops = step_flops(job.recipe, job.source.facts) if self.peak else 0
        known = [entry for entry in job.run.metrics() if "split" in entry]
        chosen = [entry for entry in known if entry["split"] == CHOOSING]
        best = max(((e[job.task.headline], -e["step"]) for e in chosen), default=(None, 0))
        scored = {entry["step"] for entry in known}
        self.scored: set[int]
        self.best: float | None
        self.scored, (self.best, step) = job.world.broadcast((scored, best))
        if self.best is not None and -step == job.progress.step and job.recipe.checkpoints.best:
            # It was killed between the score and the mark.
            job.mark_best()

    def step(self, job: Job, report: StepReport, times: TimedLosses | None) -> None:
        """Log it."""
        if times is not None:
            self.losses.add(times.t, times.losses, times.weights)
        if not job.world.is_main:
            return
        told = {key: value for key, value in asdict(report).items() if value is not None}
        rate = report.images / report.seconds
        told["images_per_second"] = rate
        if self.peak is not None:
            told["mfu"] = mfu(self.flops, rate, self.peak * job.world.size)
        memory = peak_memory(job.device)
        if memory is not None:
            told["gpu_memory"] = memory
        self.log(job, told)
        self.view.step(report)
        if self.window is not None:
            self.window.step()

    def log(self, job: Job, entry: dict[str, Any]) -> None:
        """A line of the run's metrics, and the tracker's."""
        job.run.log(entry)
        self.tracker.line(entry)

    def epoch(self, job: Job, epoch: int) -> None:
        """Score, where it is time and has not been done; after the last one for the choice only."""
        self._tell_losses(job, epoch)
        training, step = job.recipe.training, job.progress.step
        choosing = CHOOSING in job.source.facts.split_sizes
        last = epoch + 1 == training.epochs
        due = choosing if last else not (epoch + 1) % training.evaluate_every
        if due and step not in self.scored:
            self._score(job, epoch, CHOOSING if choosing else "test")

    def _tell_losses(self, job: Job, epoch: int) -> None:
        job.world.sum(self.losses.sums)
        told = self.losses.tell()
        if told and job.world.is_main:
            self.log(job, {"step": job.progress.step, "epoch": epoch + 1, "loss_by_time": told})

    def _score(self, job: Job, epoch: int, split: str) -> None:
        (meter,) = meters_of(job, split, most=1).values()
        scores = scores_of(meter)
        self.scored.add(job.progress.step)
        if split == CHOOSING and job.recipe.checkpoints.best:
            self._choose(job, scores[job.task.headline])
        if job.world.is_main:
            self._tell(job, epoch, split, meter, scores)

    def _choose(self, job: Job, value: float) -> None:
        if self.best is None or value > self.best:
            self.best = value
            job.mark_best()

    def _tell(self, job: Job, epoch: int, split: str, meter: Meter, scores: dict[str, Any]) -> None:
        headline = job.task.headline
        self.log(job, {"step": job.progress.step, "epoch": epoch + 1, "split": split, **scores})
        self.view.scored(split, headline, scores[headline])
        self.view.examples(meter.examples(EXAMPLES))
