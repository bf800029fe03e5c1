"""Curves over epochs, steps or noise levels: the paper's figures 3 and 5 and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from addkit.report.figures.style import FAINT, line_style, new_figure, styled, wrapped

TWO_COLUMNS = 27
"""Letters of a name that fits into a legend of two columns."""
PURE_NOISE = 1.05
"""Position of t = T on the axis of t, apart from the bin that ends there."""
LEAST_LOSS = 1e-4
"""Nats. The loss of nearly clean labels is next to nothing, and would take most of the axis."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, with a band where there is one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    """Lower end of the band at each x; empty where there is none."""
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """A value that does not depend on x."""

    name: str
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines of one score, and levels that do not depend on x."""

    score: str
    """Title of the axis."""
    lines: Sequence[Line]
    levels: Sequence[Level] = ()
    """Scores that do not depend on x: read-outs of one pass, controls."""


@dataclass(frozen=True, slots=True)
class LossPanel:
    """Losses of one kind: those of two kinds have no common unit."""

    kind: str
    lines: Sequence[Line]
    """x in optimizer steps, y above 0."""


@styled
def draw_accuracy(data: Curves) -> Figure:
    """Figure 3: a score over the epochs, a line for each model."""
    figure, axis = _lines_figure(data.lines)
    # No ticks between epochs.
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    axis.set_ylabel(data.score)
    draw_legend(figure, axis)
    return figure


@styled
def draw_range_test(rates: Sequence[float], losses: Sequence[float], suggestion: float) -> Figure:
    """Smoothed loss over the learning rate of each step, and the rate that is suggested."""
    figure, axis = _lines_figure([Line("smoothed loss", tuple(rates), tuple(losses))])
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda rate, _: f"{rate:.0e}")
    # A diverging end would flatten the rest.
    axis.set_ylim(top=1.1 * max(losses[: max(len(losses) // 2, 1)]))
    axis.axvline(suggestion, color=FAINT, linestyle="--", label=f"suggestion: {suggestion:.1e}")
    axis.set_xlabel("learning rate")
    axis.set_ylabel("loss")
    draw_legend(figure, axis)
    return figure


@styled
def draw_losses(data: Sequence[LossPanel]) -> Figure:
    """A panel for each kind of loss, on logarithmic axes."""
    count = sum(len(panel.lines) for panel in data)
    figure = new_figure(0.6 + 2.2 * len(data) + 0.17 * count)
    axes = figure.subplots(len(data), 1, squeeze=False, sharex=True)[:, 0]
    first = 0
    for axis, panel in zip(axes, data, strict=True):
        draw_lines(axis, panel.lines, first)
        _log_y(axis)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_ylabel(f"loss: {panel.kind}")
        # Styles are numbered over all panels, since they share one legend.
        first += len(panel.lines)
    axes[-1].set_xlabel("optimizer step")
    draw_legend(figure, *axes)
    return figure


@styled
def draw_loss_by_time(data: Sequence[Line]) -> Figure:
    """A line for each moment of the training; x is t, or `PURE_NOISE`, y is cut at `LEAST_LOSS`."""
    figure, axis = _lines_figure(data)
    _log_y(axis)
    # Cut below: nearly clean labels would take most of the axis.
    axis.set_ylim(bottom=max(axis.get_ylim()[0], LEAST_LOSS))
    ticks = [0, 0.2, 0.4, 0.6, 0.8]
    axis.set_xticks([*ticks, PURE_NOISE], [*map(str, ticks), "T"])
    axis.set_xlabel("t, from clean to pure noise")
    axis.set_ylabel("loss")
    draw_legend(figure, axis)
    return figure


@styled
def draw_step_time(data: Sequence[Line]) -> Figure:
    """A line for each part of an optimizer step, in milliseconds on a logarithmic axis."""
    figure, axis = _lines_figure(data)
    _log_y(axis)
    axis.set_xlabel("optimizer step")
    axis.set_ylabel("milliseconds a step")
    draw_legend(figure, axis)
    return figure


@styled
def draw_steps(data: Curves) -> Figure:
    """Figure 5: a score over the sampling steps, on a logarithmic axis."""
    figure = new_figure(2.9 + 0.17 * (len(data.lines) + len(data.levels)))
    axis = figure.subplots()
    draw_lines(axis, data.lines)
    # Levels continue the numbering of the lines: one legend, no style twice.
    for number, level in enumerate(data.levels, len(data.lines)):
        style = line_style(number)
        color, dashes = style["color"], style["linestyle"]
        axis.axhline(level.y, label=level.name, color=color, linestyle=dashes, lw=1.2)
        if level.low is not None and level.high is not None:
            axis.axhspan(level.low, level.high, color=color, alpha=0.08, lw=0)
    steps = sorted({x for line in data.lines for x in line.x})
    axis.set_xscale("log")
    # Ticks at the steps that were scored, not at powers of ten.
    axis.xaxis.set_major_locator(FixedLocator(steps))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(steps, [f"{x:g}" for x in steps])
    axis.set_xlabel("sampling steps")
    axis.set_ylabel(data.score)
    draw_legend(figure, axis)
    return figure


def _lines_figure(lines: Sequence[Line]) -> tuple[Figure, Axes]:
    figure = new_figure(2.9 + 0.16 * len(lines))
    axis = figure.subplots()
    draw_lines(axis, lines)
    return figure, axis


def draw_lines(axis: Axes, lines: Sequence[Line], first: int = 0) -> None:
    """Draw lines with up to 12 markers each, in the styles from number `first` on."""
    for number, line in enumerate(lines, first):
        style = line_style(number)
        # Markers distinguish lines without colour, but 60 of them would hide the line.
        every = max(1, len(line.x) // 12)
        axis.plot(line.x, line.y, label=line.name, markevery=every, **style)
        if line.low:
            axis.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.12, lw=0)
    axis.grid(True)
    axis.set_axisbelow(True)
    axis.tick_params(color=FAINT)


def draw_legend(figure: Figure, *axes: Axes) -> None:
    """Draw a legend below the axes, where it hides nothing; long names take a line each."""
    entries = [axis.get_legend_handles_labels() for axis in axes]
    handles = [handle for handles, _ in entries for handle in handles]
    names = [name for _, names in entries for name in names]
    # Two columns of long names would be cut at the edge of the figure.
    long = max(map(len, names), default=0) > TWO_COLUMNS
    figure.legend(
        handles,
        [wrapped(name, 2 * TWO_COLUMNS) for name in names],
        loc="outside lower left",
        ncols=1 if long else 2,
    )


def _log_y(axis: Axes) -> None:
    axis.set_yscale("log")
    # Plain numbers: powers of ten would need TeX, which a page's text is not typeset by.
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
