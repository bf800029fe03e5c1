"""A self-contained HTML page: every section of a run or an ablation that has its data."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from io import BytesIO
from pathlib import Path
from string import Template

from addkit.errors import UsageError
from addkit.report.contents import SECTIONS
from addkit.report.figures import inline_svg
from addkit.report.figures.images import Example
from addkit.report.run_files import NotShownError
from addkit.report.sections import RunReport, Section, Shown, Source, Table
from addkit.runs.atomic import write_text

ENDINGS: tuple[str, ...] = (".html", ".htm")
LARGEST = 192
"""Pixels of an example's longer side."""
COARSE = 48
"""Images of at most so many pixels are enlarged in squares, not blurred."""


@dataclass(frozen=True, slots=True)
class SectionStatus:
    """The presence of a section on the page."""

    name: str
    shown: bool
    reason: str | None
    """The reason why not, and the command that would change that."""


def check_page(path: Path) -> None:
    """Raise `UsageError` if no page can be written there."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f'--output {path}: ending "{path.suffix}"; known: {", ".join(ENDINGS)}')
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")


def write_page(
    path: Path, source: Source, sections: Sequence[Section] = SECTIONS
) -> list[SectionStatus]:
    """Write the page; a section without its data is a sentence with the command for it.

    Args:
        path: .html.
        source: a run or an ablation.
        sections: in the page's order.

    Raises:
        UsageError: another file ending or a missing folder.
        RunError: a file of the run is broken.
    """
    check_page(path)
    # Every section is tried: one that lacks its data does not cost the reader the others.
    statuses, body, contents, missing = [], [], [], ""
    for section in sections:
        content = section.content_of(source)
        if content is None:
            continue
        title = escape(section.title)
        try:
            shown = content()
        except NotShownError as error:
            statuses.append(SectionStatus(section.name, False, str(error)))
            missing += f"<p><strong>{title}</strong>: {_marked(str(error))}.</p>\n"
            continue
        statuses.append(SectionStatus(section.name, True, None))
        body.append(_section(section, shown))
        contents.append(f'<a href="#{section.name}">{title}</a>')
    if missing:
        body.append(
            '<section id="not-shown" class="wide missing">\n'
            f"<h2>Not shown</h2>\n{missing}</section>"
        )
    if isinstance(source, RunReport):
        page_title, summary = source.title, source.summary
    else:
        result = source.result
        page_title = f"Ablation {source.path.absolute().name}"
        summary = (
            f"Recipe `{result.recipe}`: the base and {len(result.arms)} arms, measured by "
            f"`{result.metric}`, seeds {', '.join(map(str, result.seeds))}."
        )
    # One file with styles and pictures inside: it can be sent, and opens without a network.
    template = resources.files("addkit.report").joinpath("page.html").read_text("utf-8")
    # `substitute`, not a template language: the page has four holes and no loop.
    page = Template(template).substitute(
        title=escape(page_title),
        summary=_marked(summary),
        contents=" ".join(contents),
        body="\n".join(body),
    )
    write_text(path, page)
    return statuses


def _section(section: Section, shown: Shown) -> str:
    # Tables and examples need the whole width, a figure is as wide as a phone.
    wide = not section.figure or bool(shown.examples)
    inner = "".join(f"<p>{_marked(text)}</p>\n" for text in shown.sentences)
    tables = "".join(_table(table, section.title) for table in shown.tables)
    # A section of tables has them in front of its caption; next to a figure they come last.
    inner += "" if section.figure else tables
    for title, group in shown.examples:
        items = "".join(map(_example, group))
        inner += f'<h3>{escape(title)}</h3>\n<ul class="examples">\n{items}</ul>\n'
    if shown.draw is not None and not shown.examples:
        inner += inline_svg(shown.draw(), f"figure-{section.name}", escape(shown.alt))
    caption = f"<figcaption>{_marked(shown.caption)}</figcaption>"
    return (
        f'<section id="{section.name}"{" class=wide" if wide else ""}>\n'
        f"<h2>{escape(section.title)}</h2>\n<figure>{inner}{caption}</figure>\n"
        f"{tables if section.figure else ''}</section>"
    )


def _marked(text: str) -> str:
    """Escaped text, words between backticks as code."""
    # Escaped first: names of classes and folders may have any character.
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _table(table: Table, label: str) -> str:
    """A table that scrolls sideways by itself where it is wider than the screen."""

    def row(cells: Sequence[str], tag: str, scope: str = "") -> str:
        inside = "".join(
            f"<{tag}{scope}{' class=word' if index < table.words else ''}>{escape(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )
        return f"<tr>{inside}</tr>"

    head = row(table.columns, "th", ' scope="col"')
    body = "".join(row(cells, "td") for cells in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}, table">'
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></div>\n"
    )


def _example(example: Example) -> str:
    # A copy, since thumbnail works in place; pages of photographs would be tens of megabytes.
    small = example.picture.copy()
    small.thumbnail((LARGEST, LARGEST))
    file = BytesIO()
    small.save(file, "PNG", optimize=True)
    data = b64encode(file.getvalue()).decode("ascii")
    coarse = " class=coarse" if max(example.picture.size) <= COARSE else ""
    # The truth is in the description: without the picture it is all that a reader has.
    alt = escape(f"Test image, truth: {example.truth}")
    title = escape(Path(example.name).name)
    picture = f'<img{coarse} src="data:image/png;base64,{data}" alt="{alt}" title="{title}">'
    truth = f'<p><span class="who">truth</span> {escape(example.truth)}</p>'
    answers = ""
    for answer in example.answers:
        kind = "right" if answer.right else "wrong"
        confidence = f" ({answer.percent})" if answer.percent else ""
        # The mark is read aloud as a word: a screen reader may have none for the sign.
        answers += (
            f'<p><span class="{kind}" role="img" aria-label="{kind}">{answer.mark}</span> '
            f'<span class="who">{escape(answer.model)}</span> '
            f"{escape(answer.text)}{escape(confidence)}</p>"
        )
        if answer.marginals:
            pairs = answer.marginals
            marginals = (f"<dt>{escape(name)}</dt> <dd>{escape(text)}</dd>" for name, text in pairs)
            answers += f"<dl>{''.join(marginals)}</dl>"
    return f"<li>{picture}<div>{truth}{answers}</div></li>\n"
