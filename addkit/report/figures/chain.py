"""Figure 6: how an answer sharpens along the steps of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from addkit.report.figures.style import FAINT, new_figure, spread, styled, unbroken


@dataclass(frozen=True, slots=True)
class ChainStory:
    """One chain of one image."""

    picture: Image.Image
    title: str
    rows: Sequence[str]
    """Classes of a single label, or the tokens of the final answer."""
    p: np.ndarray
    """(rows, steps): probability of each at each step, in [0, 1]."""


@styled
def draw(data: Sequence[ChainStory]) -> Figure:
    """For each image its picture, and a map of probabilities: rows by steps."""
    heights = [max(0.9, 0.145 * len(story.rows) + 0.3) for story in data]
    figure = new_figure(sum(heights) + 0.75)
    axes = figure.subplots(len(data), 2, squeeze=False, width_ratios=[1, 4], height_ratios=heights)
    for (left, right), story in zip(axes, data, strict=True):
        left.imshow(story.picture, cmap="gray", interpolation="none")
        left.set_axis_off()
        cells = _map(right, story)
    axes[-1, 1].set_xlabel("sampling step")
    bar = figure.colorbar(cells, ax=axes[:, 1], location="bottom", aspect=40, pad=0.02)
    bar.set_label("probability")
    bar.outline.set_visible(False)
    return figure


def _map(axis: Axes, story: ChainStory) -> AxesImage:
    rows, steps = story.p.shape
    cells = axis.imshow(
        story.p, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none"
    )
    axis.set_title(unbroken(story.title, 38), loc="left")
    axis.set_yticks(range(rows), [unbroken(name, 18) for name in story.rows])
    shown = spread(steps, 6)
    axis.set_xticks(list(shown), [str(step + 1) for step in shown])
    axis.spines[:].set_visible(False)
    axis.tick_params(color=FAINT, length=2)
    return cells
