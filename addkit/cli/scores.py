"""Cells and headings of scores in a terminal's tables; see `addkit.evaluation.results.Score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from addkit.evaluation.results import Score
from addkit.evaluation.results import legend as score_legend


def score_columns(scores: Mapping[str, Any]) -> list[str]:
    """A heading for each score."""
    return [Score.named(name).short_heading for name in scores]


def score_cells(scores: Mapping[str, Any]) -> list[str]:
    """A text for each score; a dash where there is none."""
    return [Score.named(name).text(value) for name, value in scores.items()]


def legend(names: Iterable[str]) -> str:
    """A line on the scores that need one; empty if none does."""
    return score_legend(map(Score.named, names))
