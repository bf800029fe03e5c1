"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from addkit.report.figures.style import FAINT, new_figure, styled, unbroken

MOST_CLASSES = 20
"""Of a matrix that is still legible; of more classes the most frequent confusions are drawn."""
MOST_PAIRS = 20


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of images by truth and answer."""

    names: Sequence[str]
    """K."""
    counts: dict[tuple[int, int], int]
    """(truth, answer) -> images, where there are any."""

    def pairs(self, most: int = MOST_PAIRS) -> list[tuple[int, int, int]]:
        """(truth, answer, images) of the most frequent confusions, the first the largest."""
        wrong = [(k, j, n) for (k, j), n in self.counts.items() if k != j]
        return sorted(wrong, key=lambda row: (-row[2], row[0], row[1]))[:most]


@styled
def draw(data: Confusion) -> Figure:
    """A matrix of up to 20 classes, rows in percent; of more classes the largest confusions."""
    return _matrix(data) if len(data.names) <= MOST_CLASSES else _pairs(data)


def _matrix(data: Confusion) -> Figure:
    size = len(data.names)
    counts = np.zeros((size, size))
    for place, number in data.counts.items():
        counts[place] = number
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = new_figure(3.9)
    axis = figure.subplots()
    axis.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="none")
    _numbers(axis, shares)
    names = [unbroken(name, 12) for name in data.names]
    axis.set_xticks(range(size), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axis.set_yticks(range(size), names)
    axis.set(xlabel="answer", ylabel="truth")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def _numbers(axis: Axes, shares: np.ndarray) -> None:
    """Percent in each cell that is not empty, in letters that its colour lets stand out."""
    size = 7 if len(shares) <= 12 else 5
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "#000000" if share > 50 else "#ffffff"
            axis.text(
                column, row, f"{share:.0f}",
                ha="center", va="center", color=colour, fontsize=size,
            )  # fmt: skip


def _pairs(data: Confusion) -> Figure:
    pairs = data.pairs()
    figure = new_figure(0.95 + 0.36 * len(pairs))
    axis = figure.subplots()
    for place, (truth, answer, number) in enumerate(pairs):
        axis.barh(place + 0.2, number, height=0.28, color="#0072b2")
        words = f"{unbroken(data.names[truth], 24)} → {unbroken(data.names[answer], 24)}"
        axis.annotate(
            f"{words}: {number}", (0, place - 0.18), (2, 0), ("axes fraction", "data"),
            textcoords="offset points", va="center",
        )  # fmt: skip
    axis.set_yticks([])
    axis.invert_yaxis()
    axis.set_xlabel("images (truth → answer)")
    axis.tick_params(color=FAINT)
    return figure
