"""Figures: functions `draw_x(data) -> Figure` of typed data; no file is read here."""

from addkit.report.figures.style import ENDINGS, inline_svg, write_figure

__all__ = ["ENDINGS", "inline_svg", "write_figure"]
