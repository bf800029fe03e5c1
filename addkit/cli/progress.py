"""The live view of a training: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from addkit.cli.output import animated, note, stderr
from addkit.training.view import View

if TYPE_CHECKING:
    from addkit.training.loop import StepReport


PLAIN_EVERY = 10.0
"""Seconds between lines where there is no terminal."""
SMOOTHING = 0.95
"""Share of the past in the shown loss and accuracy."""


class LiveView(View):
    """Loss, accuracy so far, images/s and time left."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.total, self.loss, self.accuracy, self.rate = 0, 0.0, 0.0, 0.0
        self.test = ""
        self.title = ""
        self.done, self.began, self.spoken = 0, monotonic(), monotonic()

    def begin(self, title: str, total_steps: int, done: int) -> None:
        """Start, or go on from `done` steps."""
        self.title, self.total, self.rate, self.test = title, total_steps, 0.0, ""
        self.done, self.began, self.spoken = done, monotonic(), monotonic()
        going = f", going on after step {done}" if done else ""
        note(f"{title}: {total_steps} steps{going}")
        if animated():
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}  {task.fields[numbers]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=stderr(),
                transient=True,
            )
            self.task = self.bar.add_task(title, total=total_steps, completed=done, numbers="")
            self.bar.start()

    def step(self, report: StepReport) -> None:
        """Show a step; the first one sets the averages."""
        share = SMOOTHING if self.rate else 0.0
        self.loss = share * self.loss + (1 - share) * report.loss
        self.accuracy = share * self.accuracy + (1 - share) * report.accuracy
        self.rate = share * self.rate + (1 - share) * report.images / report.seconds
        if self.bar is not None:
            self.bar.update(self.task, completed=report.step, numbers=self._numbers())
        elif monotonic() - self.spoken > PLAIN_EVERY:
            self._speak(report.step)

    def scored(self, split: str, name: str, value: float) -> None:
        """Show a score on the way."""
        self.test = f"{name} {value:.2f}"

    def examples(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Show answers beside the truth."""
        for truth, answer in pairs:
            note(f"  {truth}\n    {'=' if answer == truth else '>'} {answer}")

    def chosen(self, steps: int, name: str, values: Mapping[int, float]) -> None:
        """Show why a chain has so many steps."""
        each = ", ".join(f"{n}: {value:.3f}" for n, value in values.items())
        note(f"{self.title}: steps auto is {steps}, by {name} on the validation split ({each})")

    def profiled(self, files: Sequence[Path]) -> None:
        """Say where it is."""
        for file in files:
            note(f"profile: {file}")

    def end(self) -> None:
        """Clear the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _speak(self, step: int) -> None:
        self.spoken = monotonic()
        left = (self.total - step) * (self.spoken - self.began) / max(step - self.done, 1)
        note(f"{self.title}: step {step}/{self.total}  {self._numbers()}  {left:.0f} s left")

    def _numbers(self) -> str:
        told = (f"loss {self.loss:.3f}", f"rows right {self.accuracy:.1f} %", self.test)
        return "  ".join([*filter(None, told), f"{self.rate:.0f} images/s"])
