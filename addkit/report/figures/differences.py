"""Differences with their 95 % intervals, as dots and whiskers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from addkit.report.figures.style import FAINT, INK, new_figure, styled, unbroken


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison."""

    name: str
    mean: float
    low: float | None
    """Lower end of the 95 % interval; None where there is none."""
    high: float | None

    @property
    def sure(self) -> bool:
        """True if the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Differences:
    """Comparisons with the same base."""

    score: str
    """Title of the axis, unit included."""
    rows: Sequence[Difference]


@styled
def draw_differences(data: Differences) -> Figure:
    """A row for each: a filled dot where the interval leaves out zero, a hollow one elsewhere."""
    figure = new_figure(0.75 + 0.42 * len(data.rows))
    axis = figure.subplots()
    for height, row in zip(range(0, -len(data.rows), -1), data.rows, strict=True):
        colour = "#0072b2" if row.sure else FAINT
        # The line of zero in pieces, so that no name is struck through.
        axis.plot([0, 0], [height - 0.32, height + 0.12], color=INK, lw=1)
        if row.low is not None and row.high is not None:
            axis.plot([row.low, row.high], [height, height], color=colour, lw=2)
        axis.plot(
            row.mean,
            height,
            marker="o",
            color=colour,
            markerfacecolor=colour if row.sure else "none",
            markeredgewidth=1.6,
            markersize=7,
        )
        axis.annotate(
            unbroken(row.name, 60), (0, height + 0.3), (2, 0), ("axes fraction", "data"),
            textcoords="offset points", va="center",
        )  # fmt: skip
    axis.set_ylim(-len(data.rows) + 0.55, 0.75)
    # Names are above their whiskers: to the left long ones would leave no room for the axis.
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.grid(True, axis="x")
    axis.margins(x=0.06)
    axis.set_xlabel(data.score)
    axis.tick_params(color=FAINT)
    return figure
