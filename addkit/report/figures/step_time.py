"""Where the time of an optimizer step goes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from addkit.report.figures.lines import Line, draw_legend, draw_lines
from addkit.report.figures.style import new_figure, styled


@styled
def draw(data: Sequence[Line]) -> Figure:
    """A line for each part; x in optimizer steps, y in milliseconds, above 0 and logarithmic."""
    figure = new_figure(2.9 + 0.16 * len(data))
    axis = figure.subplots()
    draw_lines(axis, data)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("optimizer step")
    axis.set_ylabel("milliseconds a step")
    draw_legend(figure, axis)
    return figure
