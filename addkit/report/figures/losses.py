"""Figure 4: training losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from addkit.report.figures.lines import Line, draw_legend, draw_lines
from addkit.report.figures.style import new_figure, styled


@dataclass(frozen=True, slots=True)
class LossPanel:
    """Losses of one kind: those of two kinds have no common unit."""

    kind: str
    lines: Sequence[Line]
    """x in optimizer steps, y above 0."""


@styled
def draw(data: Sequence[LossPanel]) -> Figure:
    """A panel for each kind of loss, below each other, on logarithmic axes."""
    count = sum(len(panel.lines) for panel in data)
    figure = new_figure(0.6 + 2.2 * len(data) + 0.17 * count)
    axes = figure.subplots(len(data), 1, squeeze=False, sharex=True)[:, 0]
    first = 0
    for axis, panel in zip(axes, data, strict=True):
        draw_lines(axis, panel.lines, first)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylabel(f"loss: {panel.kind}")
        first += len(panel.lines)
    axes[-1].set_xlabel("optimizer step")
    draw_legend(figure, *axes)
    return figure
