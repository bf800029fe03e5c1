"""HTML for notebooks: every text escaped, style inline, no script and nothing from outside.

Colours follow the notebook's own text, so that dark themes show them too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from html import escape


def in_notebook() -> bool:
    """True within a notebook's kernel, which shows HTML."""
    # Not imported here: where nobody has imported IPython, there is no notebook.
    ipython = sys.modules.get("IPython")
    shell = ipython and getattr(ipython, "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", words: int = 1
) -> str:
    """A table; the first `words` columns are set to the left, those of numbers to the right."""

    def line(tag: str, cells: Sequence[str], style: str) -> str:
        return "".join(
            f'<{tag} style="text-align:{"left" if index < words else "right"};'
            f'padding:2px 8px;white-space:nowrap;{style}">{escape(cell)}</{tag}>'
            for index, cell in enumerate(cells)
        )

    head = line("th", headings, "border-bottom:1px solid;font-weight:600")
    body = "".join(f"<tr>{line('td', row, '')}</tr>" for row in rows)
    below = f'<div style="opacity:.7;margin-top:4px">{escape(caption)}</div>' if caption else ""
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"
    )


MUTED = "opacity:.7;font-size:.9em"
_TRACK = "display:inline-block;width:9em;height:.7em;border-radius:2px;"
_TRACK += "background:rgba(128,128,128,.2);vertical-align:middle"
_FILLED = "display:block;height:100%;border-radius:2px;background:#4c78a8"
_CELL = "padding:1px 12px 1px 0;border:0;text-align:left;white-space:nowrap;background:none"


def bar(share: float) -> str:
    """A horizontal bar of a share in [0, 1]."""
    width = 100 * min(max(share, 0.0), 1.0)
    return f'<span style="{_TRACK}"><span style="{_FILLED};width:{width:.1f}%"></span></span>'


def bars(rows: Iterable[tuple[Sequence[str], float | None, Sequence[str]]]) -> str:
    """Lines of texts, a bar of a share in [0, 1] (None: no bar) and more texts."""
    lines = []
    for before, share, behind in rows:
        cells = [*map(escape, before), "" if share is None else bar(share), *map(escape, behind)]
        lines.append("".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells))
    body = "".join(f'<tr style="background:none">{line}</tr>' for line in lines)
    return f'<table style="border-collapse:collapse;border:0;margin:0">{body}</table>'


def shades(rows: Iterable[tuple[str, Sequence[float]]], titles: Sequence[str]) -> str:
    """Lines of squares, each as dark as its share in [0, 1]; `titles` appear under the pointer."""
    lines = []
    for name, shares in rows:
        squares = "".join(
            f'<span title="{escape(title)}: {100 * share:.1f} %" style="display:inline-block;'
            "width:1.1em;height:1.1em;margin-right:1px;vertical-align:middle;"
            f"background:linear-gradient(rgba(76,120,168,{share:.3f}),rgba(76,120,168,{share:.3f})),"
            'rgba(128,128,128,.15)"></span>'
            for title, share in zip(titles, shares, strict=True)
        )
        lines.append(
            f'<tr style="background:none"><td style="{_CELL}">{escape(name)}</td>'
            f'<td style="{_CELL};line-height:1.1em">{squares}</td></tr>'
        )
    return f'<table style="border-collapse:collapse;border:0;margin:0">{"".join(lines)}</table>'


def card(picture: str, *parts: str) -> str:
    """A picture's HTML, and parts in HTML to the right of it, one below the other."""
    body = "".join(f'<div style="margin-bottom:8px">{part}</div>' for part in parts if part)
    # As wide as the widest thumbnail, so that several cards are aligned.
    left = f'<div style="width:160px;text-align:center">{picture}</div>' if picture else ""
    return (
        '<div style="display:flex;gap:16px;align-items:flex-start;flex-wrap:wrap;margin:8px 0">'
        f"{left}<div>{body}</div></div>"
    )


def muted(text: str) -> str:
    """A text of less weight."""
    return f'<span style="{MUTED}">{escape(text)}</span>' if text else ""
