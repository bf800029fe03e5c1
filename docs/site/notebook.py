"""Notebooks as pages, with the outputs that they are stored with; nothing in them is run here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


class NotebookParser(MystParser):
    """Parses a notebook as the Markdown of its cells."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill the document."""
        super().parse("\n\n".join(blocks(json.loads(inputstring))), document)


def blocks(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The cells and outputs of a notebook, as blocks of Markdown."""
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield text
            continue
        yield f"```python\n{text}\n```"
        for output in cell["outputs"]:
            kinds = output.get("data", {})
            if "text/html" in kinds:
                yield f"````{{raw}} html\n{''.join(kinds['text/html'])}\n````"
            else:
                yield f"```text\n{''.join(kinds.get('text/plain', output.get('text')))}\n```"


def register(app: Sphinx) -> None:
    """Make `.ipynb` the ending of a page."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
