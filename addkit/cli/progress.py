"""Live views of trainings and ablations: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from addkit.cli.output import animated, note, stderr, warn
from addkit.evaluation.results import Score
from addkit.terminal import printable
from addkit.training.features import FeaturePlan
from addkit.training.trainer import Callback, StepReport, Trainer

PLAIN_EVERY = 10.0
"""Seconds between lines where there is no terminal."""
LEAST_BAR, LEAST_NUMBERS = 4, 39
"""Characters of the bar, and of the numbers behind it, that the narrowest terminal shows."""
SMOOTHING = 0.95
"""Share of the past in the shown loss and accuracy."""


class LiveView(Callback):
    """Loss, accuracy so far, images/s and time left; rank 0 alone has one."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def features(self, trainer: Trainer, plan: FeaturePlan, done: int, total: int | None) -> None:
        """Show size and place, then images done, images/s and time left."""
        if total is None:
            self.began = self.printed = monotonic()
            note(f"{trainer.name}: {plan.reason or f'features: {plan.text()}'}")
            if plan.ignored:
                keys = ", ".join(plan.ignored)
                warn(f"[augmentation] {keys} has no effect while features are read")
        elif not total:
            note(f"{trainer.name}: features: all of them were there")
        elif done == total:
            self.end(trainer)
            seconds = monotonic() - self.began
            speed = f"{total / seconds:,.0f} images/s"
            note(f"{trainer.name}: features: computed in {seconds:.1f} s ({speed})")
        elif not done:
            self.began = self.printed = monotonic()
            if animated():
                self.bar = Progress(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(),
                    TextColumn("{task.completed:,}/{task.total:,} images"),
                    TextColumn("{task.fields[rate]:,.0f}/s"),
                    TextColumn("left"),
                    TimeRemainingColumn(),
                    console=stderr(),
                    transient=True,
                )
                self.task = self.bar.add_task("features", total=total, rate=0.0)
                self.bar.start()
        else:
            now = monotonic()
            rate = done / (now - self.began)
            if self.bar is not None:
                self.bar.update(self.task, completed=done, rate=rate)
            elif now - self.printed > PLAIN_EVERY:
                self.printed, left = now, (total - done) / rate
                numbers = f"{done:,}/{total:,} images  {rate:,.0f} images/s  {left:.0f} s left"
                note(f"{trainer.name}: features: {numbers}")

    def begin(self, trainer: Trainer) -> None:
        """Start the bar, at the step of a resumed training."""
        self.done, self.total = trainer.progress.step, trainer.plan.steps
        self.loss, self.accuracy, self.rate, self.score = 0.0, 0.0, 0.0, ""
        self.began = self.printed = monotonic()
        resumed = f", resumed after step {self.done}" if self.done else ""
        note(f"{trainer.name}: {self.total} steps{resumed}")
        if animated():
            console, whole = stderr(), Column(no_wrap=True)
            self.bar = Progress(
                TextColumn("{task.description}", markup=False, table_column=whole),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[numbers]}", markup=False, table_column=whole),
                console=console,
                transient=True,
                expand=True,
            )
            most = max(console.width - LEAST_BAR - LEAST_NUMBERS - 2, 1)
            name = printable(trainer.name)
            name = name if len(name) <= most else f"{name[: most - 1]}…"
            self.room = console.width - LEAST_BAR - len(name) - 2
            self.task = self.bar.add_task(name, total=self.total, completed=self.done, numbers="")
            self.bar.start()

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Show a step; the first one starts the running means."""
        share = SMOOTHING if self.rate else 0.0
        self.loss = share * self.loss + (1 - share) * report.loss
        self.accuracy = share * self.accuracy + (1 - share) * report.accuracy
        self.rate = share * self.rate + (1 - share) * report.images / report.seconds
        # Steps of an earlier session took no time of this one.
        taken, now = max(report.step - self.done, 1), monotonic()
        left = (self.total - report.step) * (now - self.began) / taken
        if self.bar is not None:
            text = self._fitting(report.step, left)
            self.bar.update(self.task, completed=report.step, numbers=text)
        elif now - self.printed > PLAIN_EVERY:
            self.printed = now
            numbers = (f"loss {self.loss:.3f}", f"rows right {self.accuracy:.1f} %", self.score)
            text = "  ".join([*filter(None, numbers), f"{self.rate:.0f} images/s"])
            note(f"{trainer.name}: step {report.step}/{self.total}  {text}  {left:.0f} s left")

    def _fitting(self, step: int, left: float) -> str:
        """The numbers behind the bar: a narrow terminal first leaves out steps, then the score on
        the way, then words.
        """
        steps, loss = f"{step}/{self.total}", f"loss {self.loss:.3f}"
        right, rate = f"{self.accuracy:.1f} %", f"{self.rate:.0f}"
        time = f"{timedelta(seconds=round(left))} left"
        whole = (loss, f"rows right {right}", self.score, f"{rate} images/s", time)
        forms = (
            (steps, *whole),
            whole,
            (loss, f"rows right {right}", f"{rate} images/s", time),
            (loss, f"right {right}", f"{rate} images/s", time),
            (loss, right, f"{rate}/s", time),
        )
        texts = ["  ".join(filter(None, form)) for form in forms]
        return next((text for text in texts if len(text) <= self.room), texts[-1])

    def scored(
        self, trainer: Trainer, split: str, value: float, examples: Sequence[tuple[str, str]]
    ) -> None:
        """Show the score with the steps that follow, and answers under the truth."""
        score = Score.named(trainer.task.headline)
        self.score = f"{score.title} {score.text(value)}{' %' if score.unit == '%' else ''}"
        for truth, answer in examples:
            note(f"  {truth}")
            note(f"    {'=' if answer == truth else '>'} {answer}")

    def unfrozen(self, trainer: Trainer) -> None:
        """Print from when on the encoder is trained."""
        note(f"{trainer.name}: encoder trained too from step {trainer.progress.step + 1} on")

    def stopped_early(self, trainer: Trainer, epoch: int, best: int) -> None:
        """Print the epoch, and the one that was the best."""
        patience = trainer.recipe.training.patience
        note(
            f"{trainer.name}: stopped after epoch {epoch} of {trainer.plan.epochs}: "
            f"{patience} evaluations in a row no better than epoch {best}"
        )

    def steps_chosen(self, trainer: Trainer, steps: int, values: Mapping[int, float]) -> None:
        """Print the choice and the score of each candidate."""
        score = Score.named(trainer.task.headline)
        each = ", ".join(f"{n}: {score.text(value)}" for n, value in values.items())
        reason = f"by {score.heading} on the validation split ({each})"
        note(f"{trainer.name}: steps auto is {steps}, {reason}")

    def profiled(self, trainer: Trainer, files: Sequence[Path]) -> None:
        """Print the paths."""
        for file in files:
            note(f"profile: {file}")

    def end(self, trainer: Trainer) -> None:
        """Clear the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class AblationBars:
    """The `AblationProgress` of the command line. `trainings` is the number of trainings in the
    ablation, those finished before included.
    """

    def __init__(self, trainings: int) -> None:
        self.trainings = trainings
        self.began: dict[str, float] = {}
        self.bars: dict[str, TaskID] = {}
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeElapsedColumn(),
            console=stderr(),
            transient=True,
            disable=not animated(),
        )

    def close(self) -> None:
        """Remove the bars, and show the cursor again; also after an error."""
        self.progress.stop()

    def begin(self, name: str) -> None:
        """A line, and a bar on a terminal."""
        if not self.began:
            note(f"{self.trainings} trainings in all")
        self.progress.start()
        self.began[name] = monotonic()
        self.bars[name] = self.progress.add_task(printable(name), total=None)

    def step(self, name: str, step: int, steps: int) -> None:
        """Move the bar."""
        self.progress.update(self.bars[name], completed=step, total=steps)

    def end(self, name: str, error: str | None) -> None:
        """A line with the outcome; after the last one the bars are removed."""
        self.progress.remove_task(self.bars.pop(name))
        if not self.bars:
            self.progress.stop()
        seconds = monotonic() - self.began[name]
        if error is None:
            note(f"{name}: done in {seconds:.0f} s")
        else:
            warn(f"{name}: failed: {error}")
