"""Figure 3: accuracy while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from addkit.report.figures.lines import Line, draw_legend, draw_lines
from addkit.report.figures.style import new_figure, styled


@dataclass(frozen=True, slots=True)
class Accuracies:
    """A score over the epochs."""

    score: str
    """What the axis is called."""
    lines: Sequence[Line]
    """x in epochs."""


@styled
def draw(data: Accuracies) -> Figure:
    """A line for each model."""
    figure = new_figure(2.9 + 0.16 * len(data.lines))
    axis = figure.subplots()
    draw_lines(axis, data.lines)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    axis.set_ylabel(data.score)
    draw_legend(figure, axis)
    return figure
