"""The role of single backquotes in docstrings: code, and a link where it is a public name."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

import addkit
import addkit.errors
from addkit.plugin import protocols, values

# Of two modules with one name the later goes before: addkit's Prediction is not the protocol.
PUBLIC = {
    name: f"{module.__name__}.{name}"
    for module in (values, protocols, addkit.errors, addkit)
    for name in getattr(module, "__all__", vars(module))
    if not name.startswith("_")
}
"""Name -> the path under which the reference has it, if it has."""


class Name(SphinxRole):
    """Sphinx's own role for Python objects warns of every word that is no object."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The node of the text."""
        literal = nodes.literal(self.rawtext, self.text, classes=["code"])
        if self.text not in PUBLIC:
            return [literal], []
        target = {"refdomain": "py", "reftype": "obj", "reftarget": PUBLIC[self.text]}
        return [pending_xref("", literal, refdoc=self.env.docname, refexplicit=False, **target)], []


def register(app: Sphinx) -> None:
    """Make `name` a role."""
    app.add_role("name", Name())
