"""Images with the truth and every model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from addkit.report.figures.style import new_figure, styled, unbroken, wrapped

_LINE = 0.155
"""Inches of a line of text."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one model answered."""

    who: str
    text: str
    right: bool
    confidence: float | None
    """In [0, 1]; None where there is none."""
    more: Sequence[tuple[str, str]] = ()
    """Of joint answers: each attribute and its most probable values by themselves."""

    @property
    def mark(self) -> str:
        """A tick or a cross, so that nobody needs the colour."""
        return "✓" if self.right else "✗"

    @property
    def sure(self) -> str:
        """The confidence in percent, or nothing."""
        return "" if self.confidence is None else f"{100 * self.confidence:.1f} %"


@dataclass(frozen=True, slots=True)
class Example:
    """One test image."""

    picture: Image.Image
    name: str
    truth: str
    said: Sequence[Said]
    """The first is the run's own."""


@styled
def draw(data: Sequence[Example]) -> Figure:
    """A row for each image: the picture, its truth and a line for each model."""
    texts = [_text(example) for example in data]
    heights = [max(0.85, _LINE * (text.count("\n") + 1) + 0.1) for text in texts]
    figure = new_figure(sum(heights) + 0.1 * len(data))
    axes = figure.subplots(
        len(data), 2, squeeze=False, width_ratios=[1, 4.4], height_ratios=heights
    )
    for (left, right), example, text in zip(axes, data, texts, strict=True):
        left.imshow(example.picture, cmap="gray", interpolation="none")
        left.set_axis_off()
        right.set_axis_off()
        right.text(0, 1, text, va="top", fontsize=8.5, transform=right.transAxes)
    return figure


def _text(example: Example) -> str:
    lines = [wrapped(f"truth: {example.truth}", 54)]
    for said in example.said:
        sure = f"  ({said.sure})" if said.sure else ""
        lines.append(wrapped(f"{said.mark} {unbroken(said.who, 24)}: {said.text}{sure}", 54))
    return "\n".join(lines)
