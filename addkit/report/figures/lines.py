"""Lines with bands: what figures 3, 4 and 5 are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from addkit.report.figures.style import FAINT, look, wrapped

MOST_LETTERS = 27
"""Of a name that fits twice beside each other."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, and how far it may be trusted."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    """Of the band at each x; empty where there is none."""
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """A value that does not depend on x."""

    name: str
    y: float
    low: float | None = None
    high: float | None = None


def draw_lines(axis: Axes, lines: Sequence[Line], first: int = 0, points: bool = True) -> None:
    """Draw lines; those of up to 12 points mark each.

    Args:
        axis: where.
        lines: in the legend's order.
        first: number of the first line's look.
        points: mark points at all.
    """
    for number, line in enumerate(lines, first):
        how = look(number)
        every = max(1, len(line.x) // 12)
        axis.plot(line.x, line.y, label=line.name, markevery=every, **how)
        if line.low:
            axis.fill_between(line.x, line.low, line.high, color=how["color"], alpha=0.12, lw=0)
    axis.grid(True)
    axis.set_axisbelow(True)
    axis.tick_params(color=FAINT)


def draw_levels(axis: Axes, levels: Sequence[Level], first: int) -> None:
    """Draw horizontal lines, from one side to the other."""
    for number, level in enumerate(levels, first):
        how = look(number)
        axis.axhline(
            level.y, label=level.name, color=how["color"], linestyle=how["linestyle"], lw=1.2
        )
        if level.low is not None and level.high is not None:
            axis.axhspan(level.low, level.high, color=how["color"], alpha=0.08, lw=0)


def draw_legend(figure: Figure, *axes: Axes) -> None:
    """Below the axes, where it hides nothing; long names take a line each."""
    found = [axis.get_legend_handles_labels() for axis in axes]
    handles = [handle for handles, _ in found for handle in handles]
    names = [name for _, names in found for name in names]
    long = max(map(len, names), default=0) > MOST_LETTERS
    figure.legend(
        handles,
        [wrapped(name, 2 * MOST_LETTERS) for name in names],
        loc="outside lower left",
        ncols=1 if long else 2,
    )
