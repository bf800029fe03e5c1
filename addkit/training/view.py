"""What a training shows a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addkit.training.loop import StepReport


class View:
    """Shows nothing; subclasses override what they show."""

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

    def profiled(self, files: Sequence[Path]) -> None:
        """A profile of some steps was written."""

    def end(self) -> None:
        """The training is over."""
