"""Equations as MathML, made when the site is built: no script and no font from elsewhere."""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

FUNCTION = re.compile(r"(<mi>(?:exp|ln|log|max|min)</mi>)(?=<m(?:i|sub|sup|sqrt))")
"""A function's name in front of its argument, which the library does not space."""

log = logging.getLogger(__name__)


def register(app: Sphinx) -> None:
    """Make `mathml` a value of `html_math_renderer`."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(inline, None), block_renderers=(block, None)
    )


def inline(writer: HTML5Translator, node: nodes.Element) -> None:
    """Write an equation within a line."""
    writer.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def block(writer: HTML5Translator, node: nodes.Element) -> None:
    """Write an equation of its own, which scrolls where the page is too narrow."""
    writer.body.append(f'<div class="math" tabindex="0">{mathml(node, "block")}</div>\n')
    raise nodes.SkipNode


def mathml(node: nodes.Element, display: str) -> str:
    """The equation; a warning, which ends a strict build, names one that cannot be read."""
    text = node.astext()
    try:
        result = convert(text, display=display)
    except Exception as error:  # Each fault has a class of its own, and some are IndexError.
        log.warning("equation %r: %r", text, error, location=node)
        return ""
    # A command that the library lacks is passed through as a name.
    if "\\" in result:
        log.warning("equation %r has an unknown command", text, location=node)
    return FUNCTION.sub(r'\1<mspace width="0.17em" />', result)
