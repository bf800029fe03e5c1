"""Headings, cells and intervals of scores; see `addkit.evaluation.results.Score`."""

from __future__ import annotations

from addkit.evaluation.results import Score
from addkit.evaluation.results import wilson as wilson


def score_title(name: str) -> str:
    """With the unit."""
    return Score.named(name).heading


def axis_title(name: str, split: str) -> str:
    """The same, and of which images."""
    return Score.named(name).axis(split)


def in_unit(name: str, value: float) -> float:
    """The value in the unit that its title names."""
    return Score.named(name).in_unit(value)


def score_text(name: str, value: float | None) -> str:
    """For a table's cell; a dash where there is none."""
    return Score.named(name).text(value)


def score_interval(name: str, value: float, count: int | None) -> tuple[float, float] | None:
    """95 % interval over images, in the title's unit; None where the score is no share of them."""
    return Score.named(name).interval(value, count)
