"""Training loss by noise level."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from addkit.report.figures.lines import Line, draw_legend, draw_lines
from addkit.report.figures.style import new_figure, styled

PURE_NOISE = 1.05
"""Where t = T lies, apart from the bin that ends there."""
LEAST = 1e-4
"""Nats. Nearly clean labels cost next to nothing, and would take most of the axis."""


@styled
def draw(data: Sequence[Line]) -> Figure:
    """A line for each moment of the training; x is t, or `PURE_NOISE`, y is cut at `LEAST`."""
    figure = new_figure(2.9 + 0.16 * len(data))
    axis = figure.subplots()
    draw_lines(axis, data)
    axis.set_yscale("log")
    axis.set_ylim(bottom=max(axis.get_ylim()[0], LEAST))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    shown = [0, 0.2, 0.4, 0.6, 0.8]
    axis.set_xticks([*shown, PURE_NOISE], [*map(str, shown), "T"])
    axis.set_xlabel("t, from clean to pure noise")
    axis.set_ylabel("loss")
    draw_legend(figure, axis)
    return figure
