"""Figure 5: accuracy over sampling steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from addkit.report.figures.lines import Level, Line, draw_legend, draw_levels, draw_lines
from addkit.report.figures.style import new_figure, styled


@dataclass(frozen=True, slots=True)
class StepCurves:
    """A score over the length of the chain."""

    score: str
    """What the axis is called."""
    lines: Sequence[Line]
    """x in sampling steps."""
    levels: Sequence[Level] = ()
    """What does not depend on steps: read-outs of one pass, controls."""


@styled
def draw(data: StepCurves) -> Figure:
    """A line for each way to answer; steps on a logarithmic axis."""
    figure = new_figure(2.9 + 0.17 * (len(data.lines) + len(data.levels)))
    axis = figure.subplots()
    draw_lines(axis, data.lines)
    draw_levels(axis, data.levels, len(data.lines))
    shown = sorted({x for line in data.lines for x in line.x})
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(shown))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(shown, [f"{x:g}" for x in shown])
    axis.set_xlabel("sampling steps")
    axis.set_ylabel(data.score)
    draw_legend(figure, axis)
    return figure
