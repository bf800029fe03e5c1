"""The style of all figures, and how they become files or part of a page.

Colours are those of Okabe and Ito (2008), which colour-blind readers can distinguish; each line
also has its own marker and dashes. Figures are as wide as a phone shows them legibly.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from io import StringIO
from pathlib import Path
from textwrap import wrap
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from addkit.errors import UsageError
from addkit.runs.atomic import whole_file

P = ParamSpec("P")

WIDTH = 4.4
"""Inches: 9 points are then 11 pixels on a screen 390 pixels wide."""
INK, FAINT = "#16191d", "#8a949e"
"""Text and first line; grids and frames. A page replaces both by its own, light or dark."""
ENDINGS: tuple[str, ...] = (".png", ".svg")

_COLOURS = (INK, "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: tuple[str, ...] = ("-", "--", "-.", ":")
_RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # Names of files and classes may contain dollar signs.
    "svg.fonttype": "none",  # Text stays text: sharp at any size, searchable and read aloud.
    "svg.hashsalt": "addkit",
}


def line_style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the line of this number, as matplotlib's keywords.

    No two of the first 7 share a colour or a marker.
    """
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a drawing function use this style, whatever matplotlib's settings are."""

    # At drawing and again at writing: matplotlib reads some settings only then.
    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_RC):
            return draw(*args, **kwargs)

    return drawn


def new_figure(height: float) -> Figure:
    """An empty figure of this height in inches, and of the common width."""
    # Not pyplot, which keeps every figure alive and chooses a backend by the display.
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_figure(path: Path | None) -> Path:
    """The path; raises `UsageError` if no figure can be written there."""
    if path is None:
        raise UsageError(f"name the file with -o, ending in one of: {', '.join(ENDINGS)}")
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f'--output {path}: ending "{path.suffix}"; known: {", ".join(ENDINGS)}')
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")
    return path


def write_figure(figure: Figure, path: Path) -> None:
    """Write .png (300 dots an inch) or .svg on white; equal figures give equal bytes."""
    # Without dates and versions, so that figures can be compared by their bytes.
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
    with mpl.rc_context(_RC), whole_file(path) as temporary:
        ending = path.suffix[1:].lower()
        figure.savefig(temporary, dpi=300, format=ending, facecolor="white", metadata=metadata)


def inline_svg(figure: Figure, name: str, alt: str) -> str:
    """An <svg> element for a page: no background, ink of the page, ids that begin with a name.

    Args:
        figure: drawn in this style.
        name: unlike that of every other figure of the page.
        alt: its description for readers who do not see it; already escaped.
    """
    # As text within the page, so that its colours and the reader's fonts apply.
    file = StringIO()
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # A reader's fonts may have the glyphs that matplotlib's lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
    svg = file.getvalue()[file.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib names images by their content: two equal ones would have one id.
    svg = re.sub(r' id="image[0-9a-f]+"', "", svg)
    # Ids are unique in a page, not in a figure.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    # The rules of one figure, not of the page around it.
    svg = svg.replace("*{stroke-linejoin", f"#{name} *{{stroke-linejoin")
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--line)")
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size is not None
    # The size of matplotlib's own <svg> is dropped: the page scales it to its column.
    inside = svg[svg.index(">", size.end()) + 1 :]
    head = f'<svg id="{name}" role="img" aria-label="{alt}" {size.group()}'
    return f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">{inside}'


def wrapped(text: str, width: int) -> str:
    """A text in lines of at most `width` letters; long words are cut."""
    return "\n".join(wrap(text, width)) or text


def unbroken(text: str, most: int) -> str:
    """A text of at most `most` letters; a longer one ends with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def spread(count: int, most: int) -> Sequence[int]:
    """At most `most` indices of range(count), evenly from the first to the last."""
    if count <= most:
        return range(count)
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
