"""One page without outside parts: every part of a run or an ablation that can be shown."""

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

from PIL import Image

from addkit.errors import UsageError
from addkit.report.figures import inline_svg
from addkit.report.figures.samples import Example, Said
from addkit.report.registry import PARTS
from addkit.report.run_files import NotShownError
from addkit.report.sections import Part, RunReport, Shown, Source
from addkit.report.tables import Table
from addkit.runs.atomic import write_text

ENDINGS: tuple[str, ...] = (".html", ".htm")
LARGEST = 192
"""Pixels of an example's longer side."""
COARSE = 48
"""Images of at most so many pixels are shown in squares, not blurred."""


@dataclass(frozen=True, slots=True)
class PartTold:
    """Whether a part stands on the page."""

    name: str
    shown: bool
    reason: str | None
    """Why not, and which command would change that."""


def check_page(path: Path) -> None:
    """Raise `UsageError` if no page can be written there."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f'--output {path}: ending "{path.suffix}"; known: {", ".join(ENDINGS)}')
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")


def write_page(path: Path, source: Source, parts: Sequence[Part] = PARTS) -> list[PartTold]:
    """Write the page; a part that lacks something is a sentence that names the command for it.

    Args:
        path: .html.
        source: a run or an ablation.
        parts: in the page's order.

    Raises:
        UsageError: another file ending, or no such folder.
        RunError: a file of the run is broken.
    """
    check_page(path)
    told, sections, contents = [], [], []
    for part in parts:
        if not part.concerns(source):
            continue
        try:
            shown = part.show(source)
        except NotShownError as error:
            told.append(PartTold(part.name, False, str(error)))
            continue
        told.append(PartTold(part.name, True, None))
        sections.append(_section(part, shown))
        contents.append(f'<a href="#{part.name}">{escape(part.title)}</a>')
    sections.append(_left_out([one for one in told if not one.shown], parts))
    template = resources.files("addkit.report").joinpath("page.html").read_text("utf-8")
    page = Template(template).substitute(
        title=escape(_title(source)),
        summary=_marked(_summary(source)),
        contents=" ".join(contents),
        body="\n".join(sections),
    )
    write_text(path, page)
    return told


def _title(source: Source) -> str:
    if isinstance(source, RunReport):
        return source.title
    return f"Ablation {source.path.absolute().name}"


def _summary(source: Source) -> str:
    if isinstance(source, RunReport):
        return source.summary
    result = source.result
    return f"Recipe `{result.recipe}`: the base and {len(result.arms)} arms, measured by " + (
        f"`{result.metric}`, seeds {', '.join(map(str, result.seeds))}."
    )


def _section(part: Part, shown: Shown) -> str:
    wide = not part.figure or bool(shown.examples)
    inner = "".join(f"<p>{_marked(text)}</p>\n" for text in shown.sentences)
    inner += "".join(_table(table, part.title) for table in shown.tables if not part.figure)
    inner += "".join(_group(title, group) for title, group in shown.examples)
    if shown.draw is not None and not shown.examples:
        inner += inline_svg(shown.draw(), f"figure-{part.name}", escape(shown.alt))
    caption = f"<figcaption>{_marked(shown.caption)}</figcaption>"
    after = "".join(_table(table, part.title) for table in shown.tables if part.figure)
    return (
        f'<section id="{part.name}"{" class=wide" if wide else ""}>\n'
        f"<h2>{escape(part.title)}</h2>\n<figure>{inner}{caption}</figure>\n{after}</section>"
    )


def _left_out(missing: Sequence[PartTold], parts: Sequence[Part]) -> str:
    if not missing:
        return ""
    titles = {part.name: part.title for part in parts}
    lines = "".join(
        f"<p><strong>{escape(titles[one.name])}</strong>: {_marked(one.reason or '')}.</p>\n"
        for one in missing
    )
    return f'<section id="not-shown" class="wide missing">\n<h2>Not shown</h2>\n{lines}</section>'


def _marked(text: str) -> str:
    """Escaped, words between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def _table(table: Table, label: str) -> str:
    """A table that scrolls sideways by itself where it is wider than the screen."""
    head = _row(table.columns, table.words, "th")
    body = "".join(_row(row, table.words, "td") for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}, table">'
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></div>\n"
    )


def _row(cells: Sequence[str], words: int, tag: str) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    inside = "".join(
        f"<{tag}{scope}{' class=word' if place < words else ''}>{escape(cell)}</{tag}>"
        for place, cell in enumerate(cells)
    )
    return f"<tr>{inside}</tr>"


def _group(title: str, group: Sequence[Example]) -> str:
    items = "".join(map(_example, group))
    return f'<h3>{escape(title)}</h3>\n<ul class="examples">\n{items}</ul>\n'


def _example(example: Example) -> str:
    coarse = max(example.picture.size) <= COARSE
    alt = escape(f"Test image, truth: {example.truth}")
    picture = (
        f'<img{" class=coarse" if coarse else ""} src="{_data_uri(example.picture)}" alt="{alt}" '
        f'title="{escape(Path(example.name).name)}">'
    )
    said = "".join(map(_said, example.said))
    truth = f'<p><span class="who">truth</span> {escape(example.truth)}</p>'
    return f"<li>{picture}<div>{truth}{said}</div></li>\n"


def _said(said: Said) -> str:
    kind = "right" if said.right else "wrong"
    sure = f" ({said.sure})" if said.sure else ""
    alone = "".join(f"<dt>{escape(n)}</dt> <dd>{escape(values)}</dd>" for n, values in said.more)
    return (
        f'<p><span class="{kind}" role="img" aria-label="{kind}">{said.mark}</span> '
        f'<span class="who">{escape(said.who)}</span> {escape(said.text)}{escape(sure)}</p>'
        + (f"<dl>{alone}</dl>" if alone else "")
    )


def _data_uri(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((LARGEST, LARGEST))
    file = BytesIO()
    small.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode("ascii")
