"""Test images with their answers (the paper's figure 7), and chains by step (figures 4 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from addkit.report.figures.style import FAINT, new_figure, spread, styled, unbroken, wrapped

_LINE = 0.155
"""Inches of a line of text."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The answer of one model to one image."""

    model: str
    text: str
    right: bool
    confidence: float | None
    """In [0, 1]; None where there is none."""
    marginals: Sequence[tuple[str, str]] = ()
    """Joint answers alone: each attribute, and the values with the largest marginals."""

    @property
    def mark(self) -> str:
        """A tick or a cross, so that colour is not needed."""
        return "✓" if self.right else "✗"

    @property
    def percent(self) -> str:
        """The confidence in percent; empty where there is none."""
        return "" if self.confidence is None else f"{100 * self.confidence:.1f} %"


@dataclass(frozen=True, slots=True)
class Example:
    """One test image."""

    picture: Image.Image
    name: str
    truth: str
    answers: Sequence[ModelAnswer]
    """The run's own first."""


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
def draw_examples(data: Sequence[Example]) -> Figure:
    """A row for each image: the picture, its truth and a line for each model."""
    texts = []
    for example in data:
        lines = [wrapped(f"truth: {example.truth}", 54)]
        for answer in example.answers:
            confidence = f"  ({answer.percent})" if answer.percent else ""
            text = f"{answer.mark} {unbroken(answer.model, 24)}: {answer.text}{confidence}"
            lines.append(wrapped(text, 54))
        texts.append("\n".join(lines))
    heights = [max(0.85, _LINE * (text.count("\n") + 1) + 0.1) for text in texts]
    figure = new_figure(sum(heights) + 0.1 * len(data))
    axes = figure.subplots(
        len(data), 2, squeeze=False, width_ratios=[1, 4.4], height_ratios=heights
    )
    for (left, right), example, text in zip(axes, data, texts, strict=True):
        # Pixels as they are: small images would be blurred, and a map would colour grey ones.
        left.imshow(example.picture, cmap="gray", interpolation="none")
        left.set_axis_off()
        right.set_axis_off()
        right.text(0, 1, text, va="top", fontsize=8.5, transform=right.transAxes)
    return figure


@styled
def draw_chains(data: Sequence[ChainStory]) -> Figure:
    """For each image its picture, and a map of probabilities: rows by steps."""
    # In inches: a line of text for each row of the map.
    heights = [max(0.9, 0.145 * len(story.rows) + 0.3) for story in data]
    figure = new_figure(sum(heights) + 0.75)
    axes = figure.subplots(len(data), 2, squeeze=False, width_ratios=[1, 4], height_ratios=heights)
    for (left, right), story in zip(axes, data, strict=True):
        left.imshow(story.picture, cmap="gray", interpolation="none")
        left.set_axis_off()
        cells = right.imshow(
            story.p, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none"
        )
        rows, steps = story.p.shape
        right.set_title(unbroken(story.title, 38), loc="left")
        right.set_yticks(range(rows), [unbroken(name, 18) for name in story.rows])
        # Six numbers fit under a map on a phone.
        ticks = spread(steps, 6)
        right.set_xticks(list(ticks), [str(step + 1) for step in ticks])
        right.spines[:].set_visible(False)
        right.tick_params(color=FAINT, length=2)
    axes[-1, 1].set_xlabel("sampling step")
    # One scale for all maps, since each runs from 0 to 1.
    bar = figure.colorbar(cells, ax=axes[:, 1], location="bottom", aspect=40, pad=0.02)
    bar.set_label("probability")
    bar.outline.set_visible(False)
    return figure
