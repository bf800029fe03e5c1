"""How a training that Python has started shows its progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from time import monotonic
from typing import Any

from addkit.evaluation.results import Score
from addkit.notebook import in_notebook
from addkit.training.trainer import Callback, StepReport, Trainer

EVERY = 0.25
"""Seconds between two updates of a notebook's bar."""


def views(progress: bool | None) -> tuple[list[Callback], Callable[[str], None]]:
    """The callbacks that show a training, and a function that prints a line about it.

    Args:
        progress: True and False always and never show; None: on a terminal and in a notebook.
    """
    from addkit.cli.output import animated, note
    from addkit.cli.progress import LiveView

    if progress is False or (progress is None and not (in_notebook() or animated())):
        return [], lambda _: None
    return [NotebookBar() if in_notebook() else LiveView()], note


class NotebookBar(Callback):
    """A line with a bar in a notebook's cell, for each network that is trained."""

    def begin(self, trainer: Trainer) -> None:
        """Show the bar, at the step of a resumed training."""
        # A notebook's kernel has it.
        from IPython.display import display

        self.began = monotonic()
        self.shown, self.first = 0.0, trainer.progress.step
        self.loss, self.score = 0.0, ""
        self.handle = display(_html(trainer, self.first), display_id=True)

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """Move the bar, four times a second at most."""
        self.loss = report.loss if report.step == self.first + 1 else self.loss
        self.loss = 0.95 * self.loss + 0.05 * report.loss
        now = monotonic()
        if now - self.shown < EVERY and report.step < trainer.plan.steps:
            return
        self.shown = now
        done = report.step - self.first
        left = (trainer.plan.steps - report.step) * (now - self.began) / done
        rate = done * report.images / (now - self.began)
        numbers = (
            f"loss {self.loss:.3f}",
            self.score,
            f"{rate:,.0f} images/s",
            f"{left:.0f} s left",
        )
        self._update(trainer, report.step, " &middot; ".join(escape(x) for x in numbers if x))

    def scored(
        self, trainer: Trainer, split: str, value: float, examples: Sequence[tuple[str, str]]
    ) -> None:
        """Show the score with the steps that follow."""
        score = Score.named(trainer.task.headline)
        self.score = f"{score.title} {score.text(value)}{' %' if score.unit == '%' else ''}"

    def end(self, trainer: Trainer) -> None:
        """Leave the last loss and score."""
        self._update(trainer, trainer.progress.step, f"{monotonic() - self.began:.0f} s")

    def _update(self, trainer: Trainer, step: int, *times: str) -> None:
        if self.handle is not None:
            numbers = (f"loss {self.loss:.3f}", self.score, *times)
            self.handle.update(_html(trainer, step, *filter(None, numbers)))


def _html(trainer: Trainer, step: int, *texts: str) -> Any:
    from IPython.display import HTML

    steps = trainer.plan.steps
    behind = escape(" · ".join([f"{step:,}/{steps:,}", *texts]))
    return HTML(
        f'<div style="white-space:nowrap"><b>{escape(trainer.name)}</b> '
        f'<progress value="{step}" max="{steps}" style="width:12em;vertical-align:middle">'
        f"</progress> {behind}</div>"
    )
