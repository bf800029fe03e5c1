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
