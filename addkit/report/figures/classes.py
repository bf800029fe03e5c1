"""Accuracy by class, or by attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from addkit.report.figures.style import FAINT, INK, new_figure, styled, unbroken


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Of the images of one class."""

    name: str
    right: float
    """In percent, with its 95 % interval."""
    low: float
    high: float
    count: int


@styled
def draw(data: Sequence[ClassAccuracy]) -> Figure:
    """A dot with whiskers for each class, the first one on top."""
    figure = new_figure(0.7 + 0.2 * len(data))
    axis = figure.subplots()
    places = range(len(data))
    right = [one.right for one in data]
    reach = [[one.right - one.low for one in data], [one.high - one.right for one in data]]
    axis.errorbar(right, places, xerr=reach, fmt="o", color="#0072b2", elinewidth=1.5)
    axis.set_yticks(places, [f"{unbroken(one.name, 26)} ({one.count})" for one in data])
    axis.invert_yaxis()
    axis.axvline(100, color=INK, lw=0.8)
    axis.grid(True)
    axis.set_axisbelow(True)
    axis.set_xlabel("right, % (number of images)")
    axis.tick_params(color=FAINT)
    return figure
