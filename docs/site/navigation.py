"""The menus: which pages are the heads of others, and what lies below each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

ROOT = "docs/index"
"""The front page; its links have the short titles of the menu."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    ROOT: (),
    "docs/tutorials/README": (),
    "docs/guides": (),
    "docs/reference": tuple(
        f"docs/reference/{name}"
        for name in ("commands", "recipes", "components", "python", "plugins")
    ),
    "docs/science": (),
    "docs/lab/README": (),
    "docs/project": (),
}
"""Head -> pages below it that are made from the code; others are what it lists."""

ENTRY = re.compile(r"^(?:- |\| )\[([^\]]*)\]\(([^)#:]+)\.(?:md|ipynb)\)", re.MULTILINE)


def entries(head: str, text: str) -> list[tuple[str, str]]:
    """(title, page) of each page below a head: the links that its list items and table rows begin
    with, then those that are made from the code, whose title is empty.
    """
    folder = PurePosixPath(head).parent
    listed = [
        (title, os.path.normpath(folder / target).replace(os.sep, "/"))
        for title, target in ENTRY.findall(text)
    ]
    return listed + [("", page) for page in SECTIONS[head]]


def contents(head: str, text: str) -> str:
    """The directive that makes the menu, which a Git host would show as code."""
    lines = [
        f"{title} </{page}>" if head == ROOT else f"/{page}" for title, page in entries(head, text)
    ]
    return "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(lines) + "\n```\n"
