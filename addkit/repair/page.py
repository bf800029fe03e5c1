"""The page of suspicious labels: pictures, accept and keep, and a mended copy to download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from addkit.data.shown import ShownPicture
from addkit.repair.records import Records
from addkit.repair.suspicion import Suspicion
from addkit.runs.atomic import write_text


def write_repair_page(path: Path, records: Records, suspicions: Sequence[Suspicion]) -> None:
    """Write a self-contained page of these labels, in their order.

    The table is in it, so that the browser can write a mended copy; the original is never changed.

    Args:
        path: .html.
        records: of the table.
        suspicions: to show.
    """
    table = records.table
    columns = {name: table.columns.index(name) for name in records.names}
    data = {
        "name": table.path.name,
        "columns": table.columns,
        "rows": [row.cells for row in table.rows],
        "labels": [
            {
                "row": each.record.index,
                "line": each.record.line,
                "column": columns[each.attribute],
                "image": each.record.image.name,
                "recorded": each.recorded,
                "suggested": each.suggested,
                "wrong": round(each.wrong, 4),
                "probability": round(each.probability, 4),
                "picture": _source(each.record.image),
            }
            for each in suspicions
        ],
    }
    page = resources.files("addkit.repair").joinpath("page.html").read_text("utf-8")
    # No text of the data can end the script element, or start a comment in it.
    text = json.dumps(data, separators=(",", ":"))
    text = text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
    write_text(path, page.replace("@DATA@", text))


def _source(image: Path) -> str:
    """The thumbnail as a data URL; empty if the file is gone."""
    html = ShownPicture(str(image), image).html()
    return html.partition('src="')[2].partition('"')[0]
