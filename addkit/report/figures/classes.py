"""Accuracy by class or by attribute, and the confusions of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from addkit.report.figures.style import FAINT, INK, new_figure, styled, unbroken

MOST_CLASSES = 20
"""Classes of a matrix that is still legible; of more the most frequent confusions are drawn."""
MOST_PAIRS = 20


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Accuracy on the images of one class."""

    name: str
    right: float
    """In percent, with its 95 % interval."""
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of images by truth and answer."""

    names: Sequence[str]
    """K."""
    counts: dict[tuple[int, int], int]
    """(truth, answer) -> images, where there are any."""

    def pairs(self, most: int = MOST_PAIRS) -> list[tuple[int, int, int]]:
        """(truth, answer, images) of the most frequent confusions, in falling order."""
        wrong = [(k, j, n) for (k, j), n in self.counts.items() if k != j]
        # By class where counts are equal, so that a page drawn again is the same.
        return sorted(wrong, key=lambda row: (-row[2], row[0], row[1]))[:most]


@styled
def draw_classes(data: Sequence[ClassAccuracy]) -> Figure:
    """A bar with whiskers for each class, the first one on top."""
    figure = new_figure(0.7 + 0.2 * len(data))
    axis = figure.subplots()
    rows = range(len(data))
    right = [each.right for each in data]
    # (2, classes): distances to both ends of the interval
    whiskers = [[each.right - each.low for each in data], [each.high - each.right for each in data]]
    axis.barh(rows, right, 0.7, xerr=whiskers, color="#56b4e9", ecolor=INK)
    axis.set_yticks(rows, [f"{unbroken(each.name, 26)} ({each.count})" for each in data])
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.xaxis.grid(True)
    axis.set_axisbelow(True)
    axis.set_xlabel("right, % (number of images)")
    axis.tick_params(color=FAINT)
    return figure


@styled
def draw_confusion(data: Confusion) -> Figure:
    """A matrix of up to 20 classes, rows in percent; of more classes the largest confusions."""
    return _draw_matrix(data) if len(data.names) <= MOST_CLASSES else _draw_pairs(data)


def _draw_matrix(data: Confusion) -> Figure:
    size = len(data.names)
    counts = np.zeros((size, size))  # (truth, answer)
    for pair, number in data.counts.items():
        counts[pair] = number
    # Rows add up to 100; a class without images stays 0 rather than nan.
    percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = new_figure(3.9)
    axis = figure.subplots()
    axis.imshow(percent, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="none")
    for (row, column), value in np.ndenumerate(percent):
        # Below that it would read "0", which the colour shows already.
        if value >= 0.5:
            # Dark letters on bright cells, and bright ones on dark cells.
            colour = "#000000" if value > 50 else "#ffffff"
            axis.text(
                column, row, f"{value:.0f}",
                ha="center", va="center", color=colour, fontsize=7 if size <= 12 else 5,
            )  # fmt: skip
    names = [unbroken(name, 12) for name in data.names]
    axis.set_xticks(range(size), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axis.set_yticks(range(size), names)
    axis.set(xlabel="answer", ylabel="truth")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def _draw_pairs(data: Confusion) -> Figure:
    pairs = data.pairs()
    figure = new_figure(0.95 + 0.36 * len(pairs))
    axis = figure.subplots()
    # The name above its bar: to the left long names would leave no room.
    for row, (truth, answer, number) in enumerate(pairs):
        axis.barh(row + 0.2, number, height=0.28, color="#0072b2")
        names = f"{unbroken(data.names[truth], 24)} → {unbroken(data.names[answer], 24)}"
        axis.annotate(
            f"{names}: {number}", (0, row - 0.18), (2, 0), ("axes fraction", "data"),
            textcoords="offset points", va="center",
        )  # fmt: skip
    axis.set_yticks([])
    axis.invert_yaxis()
    axis.set_xlabel("images (truth → answer)")
    axis.tick_params(color=FAINT)
    return figure
