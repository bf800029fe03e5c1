"""One module for each figure, with `draw(data) -> Figure` from typed data."""

from addkit.report.figures.style import ENDINGS, inline_svg, write_figure

__all__ = ["ENDINGS", "inline_svg", "write_figure"]
