"""Check the built site: python docs/site/check_links.py FOLDER.

Each link leads to a file or a heading that exists, those of menus, tables of contents and raw HTML
included, and no page loads anything from another host.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"img", "script", "link", "iframe", "source"}
"""Elements whose address a browser fetches to show the page."""
NAMED = {"canonical", "search", "alternate", "next", "prev", "index"}
"""Relations of `link` that it does not fetch."""


class Page(HTMLParser):
    """Addresses and anchors of an HTML file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element's id and its addresses."""
        values = dict(attrs)
        self.anchors |= {values.get("id") or "", (tag == "a" and values.get("name")) or ""}
        for address in (values.get("href"), values.get("src")):
            if address:
                self.links.append(address)
                if tag in LOADED and values.get("rel") not in NAMED:
                    self.loaded.append(address)


def faults(folder: Path) -> list[str]:
    """A line for each dead link, and for each file of another host that a page loads."""
    # Sphinx's folders of files that pages load have templates of the theme, which are no pages.
    files = [file for file in sorted(folder.rglob("*.html")) if "_static" not in file.parts]
    pages = {file.resolve(): Page(file) for file in files}
    lines = []
    for file, page in pages.items():
        name = file.relative_to(folder.resolve())
        lines += [f"{name}: loads {each}" for each in page.loaded if urlsplit(each).netloc]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            # What is no page, such as a picture, has no anchors.
            known = pages[target].anchors if target in pages else {"", parts.fragment}
            if not target.is_file() or unquote(parts.fragment) not in known:
                lines.append(f"{name}: {link} leads nowhere")
    return [*dict.fromkeys(lines), *([] if pages else [f"{folder}: no pages"])]


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]))
    sys.stderr.writelines(f"{line}\n" for line in found)
    sys.exit(bool(found))
