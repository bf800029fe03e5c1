"""Settings of the documentation site, which `nox -s docs` builds with Sphinx.

The source folder is the root of the repository, so that links between pages, to recipes and to
code are the same on the site and on a Git host. Pages stay plain Markdown: what only Sphinx reads,
such as the navigation, is here.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]
# The reference describes addkit alone, whatever plugins are installed.
os.environ["ADDKIT_PLUGINS"] = ""

import mathml  # noqa: E402
import names  # noqa: E402
import navigation  # noqa: E402
import notebook  # noqa: E402
import reference  # noqa: E402

from addkit import __version__  # noqa: E402

# Whatever autodoc imports itself it imports as for type checkers, which pydantic cannot do.
for module in ("addkit.api", "addkit.export.run", "addkit.packs", "addkit.testing"):
    importlib.import_module(module)

project = "addkit"
author = "addkit contributors"
copyright = author
release = version = __version__

root_doc = navigation.ROOT
include_patterns = ["docs/**", "plugins/*/README.md", "benchmarks/README.md"]
include_patterns += ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
# Folders that Sphinx need not walk through.
exclude_patterns = [
    "docs/site",
    ".*",
    "addkit",
    "build",
    "cache",
    "dist",
    "recipes",
    "runs",
    "tests",
]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # a fence, which Git hosts show as an equation too
myst_dmath_allow_space = False
myst_heading_anchors = 6

# Docstrings write code in single backquotes: a link where it names something that is documented.
default_role = "name"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 70

html_theme = "pydata_sphinx_theme"
html_title = f"addkit {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_show_copyright = False
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_theme_options = {
    "logo": {"text": "addkit"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "footer_start": ["sphinx-version"],
    "footer_end": ["theme-version"],
}
pygments_style = "default"


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Append the menu to a page that is the head of others."""
    if name in navigation.SECTIONS:
        source[0] += navigation.contents(name, source[0])


def keep_colons(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from reading `Joint labels: the name of each token.` as a type and a text."""
    if what in ("attribute", "data", "property"):
        # It reads the first line alone in that way: an empty comment.
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> None:
    """Register the hooks of this site."""
    mathml.register(app)
    names.register(app)
    notebook.register(app)
    reference.write(ROOT / "docs" / "reference")
    app.add_lexer("csv", TextLexer)  # Tables in pages; it has no rules to colour.
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # napoleon's is 500
