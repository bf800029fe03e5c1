"""A score by seed: what a claim compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from addkit.ablation.results import spread
from addkit.errors import AddkitError
from addkit.evaluation.results import Score


class NotThereError(AddkitError):
    """The stored results do not hold what a claim compares. The text says what is missing."""


@dataclass(frozen=True, slots=True)
class Series:
    """A score of several trainings."""

    title: str
    """Of the score, with its unit."""
    digits: int
    """Behind the point, where it is shown."""
    values: Mapping[int, float]
    """Seed -> score, in the title's unit."""

    def __sub__(self, other: Series) -> Series:
        """Seed by seed, over the seeds that both have."""
        both = self.where(other).values
        values = {seed: value - other.values[seed] for seed, value in both.items()}
        return Series(self.title, self.digits, values)

    def where(self, other: Series) -> Series:
        """The same, of the seeds that the other has too."""
        both = sorted(self.values.keys() & other.values.keys())
        return Series(self.title, self.digits, {seed: self.values[seed] for seed in both})

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        mean, sd = spread(list(self.values.values()))
        return {"mean": mean, "sd": sd, "values": dict(sorted(self.values.items()))}

    def text(self, value: float, sign: str = "") -> str:
        """A value in the score's digits."""
        return f"{value:{sign}.{self.digits}f}"


def series(score: str, values: Mapping[int, float]) -> Series:
    """A series from scores as they are stored.

    Args:
        score: its name, such as top1.
        values: seed -> score; shares are turned into percent.
    """
    named = Score.named(score)
    digits = 2 if named.unit == "%" else 4
    return Series(
        named.heading, digits, {seed: named.in_unit(value) for seed, value in values.items()}
    )
