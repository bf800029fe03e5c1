"""The reliability diagram: how often an answer of some confidence is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from addkit.report.figures.lines import draw_legend
from addkit.report.figures.style import FAINT, look, new_figure, styled

FEWEST = 10
"""Answers of a bin that is drawn: the intervals of smaller ones would cover the figure."""


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
    """Those that hold answers, by rising confidence."""

    @property
    def shown(self) -> Sequence[Bin]:
        """Those that hold enough answers to say something; all if none does."""
        return [one for one in self.bins if one.count >= FEWEST] or self.bins


@styled
def draw(data: Sequence[Reliability]) -> Figure:
    """Share right over confidence above, share of the answers in each bin below.

    Above stand bins of at least 10 answers, and whiskers are their intervals.
    """
    figure = new_figure(4.6 + 0.17 * len(data))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=FAINT, lw=1, label="as sure as right")
    for number, model in enumerate(data):
        _model(above, below, model, number)
    above.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="share right")
    below.set(ylim=(0, 1.02), ylabel="answers", xlabel="confidence")
    for axis in (above, below):
        axis.grid(True)
        axis.set_axisbelow(True)
        axis.tick_params(color=FAINT)
    draw_legend(figure, above)
    return figure


def _model(above: Axes, below: Axes, model: Reliability, number: int) -> None:
    how = look(number)
    shown = model.shown
    x = [one.confidence for one in shown]
    y = [one.right for one in shown]
    reach = [[one.right - one.low for one in shown], [one.high - one.right for one in shown]]
    label = f"{model.name} (ECE {model.ece:.1f} %)"
    # Points alone: between bins of few answers a line would zigzag.
    above.errorbar(x, y, yerr=reach, label=label, elinewidth=0.8, **(how | {"linestyle": "none"}))
    whole = sum(one.count for one in model.bins)
    x = [one.confidence for one in model.bins]
    below.plot(x, [one.count / whole for one in model.bins], **how)
