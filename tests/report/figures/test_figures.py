from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from addkit.errors import UsageError
from addkit.report.figures import inline_svg, write_figure
from addkit.report.figures.classes import ClassAccuracy, Confusion, draw_classes, draw_confusion
from addkit.report.figures.curves import (
    Curves,
    Level,
    Line,
    LossPanel,
    draw_accuracy,
    draw_loss_by_time,
    draw_losses,
    draw_step_time,
    draw_steps,
)
from addkit.report.figures.differences import Difference, Differences, draw_differences
from addkit.report.figures.images import (
    ChainStory,
    Example,
    ModelAnswer,
    draw_chains,
    draw_examples,
)
from addkit.report.figures.reliability import Bin, Reliability, draw_reliability
from addkit.report.figures.style import FAINT, INK, check_figure, line_style, spread

LINE = Line("one <line>", (1, 2, 5), (10, 20, 30), (9, 19, 29), (11, 21, 31))
PICTURE = Image.new("L", (8, 8), 99)
ANSWER = ModelAnswer("ADD", "b $x$", False, 0.5)
BIN = Bin(0.95, 0.9, 0.8, 0.96, 40)

DRAWN: dict[str, tuple[Any, Any]] = {
    "accuracy": (draw_accuracy, Curves("top-1", [LINE, LINE])),
    "losses": (
        draw_losses,
        [LossPanel("ce", [LINE]), LossPanel("mse", [LINE, LINE])],
    ),
    "loss-by-time": (draw_loss_by_time, [LINE, Line("two", (0.05, 1.05), (0.001, 6.0))]),
    "step-time": (draw_step_time, [LINE]),
    "steps": (draw_steps, Curves("top-1", [LINE], [Level("level", 15, 14, 16)])),
    "chain": (draw_chains, [ChainStory(PICTURE, "t", ["a", "b"], np.full((2, 5), 0.5))] * 2),
    "reliability": (draw_reliability, [Reliability("ADD", 3.0, [BIN])]),
    "classes": (draw_classes, [ClassAccuracy("cat", 90, 80, 95, 10)]),
    "matrix": (draw_confusion, Confusion(["a", "b"], {(0, 0): 3, (0, 1): 1})),
    "pairs": (draw_confusion, Confusion([f"k{k}" for k in range(30)], {(3, 7): 2})),
    "samples": (draw_examples, [Example(PICTURE, "x", "a", [ANSWER])]),
    "differences": (
        draw_differences,
        Differences(
            "points",
            [Difference("x", 1, 0.5, 1.5), Difference("y", 0, None, None)],
        ),
    ),
}


@pytest.fixture(params=DRAWN)
def drawn(request: pytest.FixtureRequest) -> Callable[[], Figure]:
    draw, data = DRAWN[request.param]
    return lambda: draw(data)


def test_every_figure_fits_a_page(drawn: Callable[[], Figure]) -> None:
    figure = drawn()
    svg = inline_svg(figure, "figure-x", "what it shows")
    assert svg.startswith('<svg id="figure-x" role="img" aria-label="what it shows" viewBox="')
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("figure-x") for name in ids)
    used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)
    assert {one or other for one, other in used} <= set(ids)
    assert INK not in svg
    assert FAINT not in svg
    assert "<text" in svg  # not paths
    assert "<metadata" not in svg
    assert "mathdefault" not in svg  # a power of ten in TeX, which nobody typesets
    assert figure.get_figwidth() < 5


def test_every_figure_becomes_a_file(drawn: Callable[[], Figure], tmp_path: Path) -> None:
    for name in ("a.png", "a.svg", "b.svg"):
        write_figure(drawn(), tmp_path / name)
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1320
        assert np.asarray(image.convert("L")).std() > 1


def test_lines_differ_by_more_than_colour() -> None:
    looks = [line_style(number) for number in range(7)]
    assert len({one["color"] for one in looks}) == len({one["marker"] for one in looks}) == 7
    pairs = {(one["color"], one["linestyle"]) for one in map(line_style, range(28))}
    assert len(pairs) == 28


def test_whiskers_that_leave_out_zero_are_filled() -> None:
    draw, data = DRAWN["differences"]
    assert [row.sure for row in data.rows] == [True, False]
    dots = [line for line in draw(data).axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["#0072b2", "none"]


def test_small_bins_are_not_drawn_unless_there_are_no_others() -> None:
    small = Bin(0.1, 0.5, 0.1, 0.9, 2)
    assert list(Reliability("", 0.0, [small, BIN]).shown) == [BIN]
    assert list(Reliability("", 0.0, [small]).shown) == [small]


def test_confusions_are_ranked() -> None:
    data = Confusion("abc", {(0, 0): 9, (0, 1): 1, (2, 1): 4, (1, 2): 4})
    assert data.pairs() == [(1, 2, 4), (2, 1, 4), (0, 1, 1)]
    assert data.pairs(1) == [(1, 2, 4)]


def test_places_are_spread_evenly() -> None:
    assert list(spread(3, 6)) == [0, 1, 2]
    assert spread(20, 6) == [0, 4, 8, 11, 15, 19]
    assert spread(2001, 2000)[-1] == 2000


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (None, "name the file with -o, ending in one of: .png, .svg"),
        ("a.pdf", '--output a.pdf: ending ".pdf"; known: .png, .svg'),
        ("none/a.png", "--output none/a.png: there is no folder none"),
    ],
)
def test_files_that_cannot_be_written(name: str | None, error: str) -> None:
    with pytest.raises(UsageError) as found:
        check_figure(None if name is None else Path(name))
    assert str(found.value) == error
