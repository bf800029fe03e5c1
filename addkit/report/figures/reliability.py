"""The reliability diagram: how often an answer of some confidence is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from addkit.report.figures.curves import draw_legend
from addkit.report.figures.style import FAINT, line_style, new_figure, styled

FEWEST = 10
"""Least number of answers in a drawn bin: intervals of smaller ones would cover the figure."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of nearly the same confidence."""

    confidence: float
    """Their mean, in [0, 1]."""
    right: float
    """Share of them that are right, with its 95 % interval."""
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """One model's bins, and its expected calibration error in percent."""

    name: str
    ece: float
    bins: Sequence[Bin]
    """Bins that are not empty, by rising confidence."""

    @property
    def shown(self) -> Sequence[Bin]:
        """The bins with at least `FEWEST` answers; all if there is none."""
        return [each for each in self.bins if each.count >= FEWEST] or self.bins


@styled
def draw_reliability(data: Sequence[Reliability]) -> Figure:
    """Share right over confidence above, share of the answers in each bin below.

    The upper part has bins of at least 10 answers, with whiskers for their intervals.
    """
    figure = new_figure(4.6 + 0.17 * len(data))
    # Counts below: a bin far from the diagonal matters as much as it has answers.
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=FAINT, lw=1, label="as sure as right")
    for number, model in enumerate(data):
        style = line_style(number)
        shown = model.shown
        x = [each.confidence for each in shown]
        y = [each.right for each in shown]
        # (2, bins): distances to both ends of the interval
        reach = [
            [each.right - each.low for each in shown],
            [each.high - each.right for each in shown],
        ]
        label = f"{model.name} (ECE {model.ece:.1f} %)"
        # Points alone: between bins of few answers a line would zigzag.
        above.errorbar(
            x, y, yerr=reach, label=label, elinewidth=0.8, **(style | {"linestyle": "none"})
        )
        total = sum(each.count for each in model.bins)
        x = [each.confidence for each in model.bins]
        below.plot(x, [each.count / total for each in model.bins], **style)
    above.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="share right")
    below.set(ylim=(0, 1.02), ylabel="answers", xlabel="confidence")
    for axis in (above, below):
        axis.grid(True)
        # The grid behind the points.
        axis.set_axisbelow(True)
        axis.tick_params(color=FAINT)
    draw_legend(figure, above)
    return figure
