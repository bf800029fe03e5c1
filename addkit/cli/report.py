"""`addkit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_OR_ABLATION",
            help="What to report; the newest finished run if absent.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page; report.html in the folder if absent."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.KEY=VALUE", help="Where the data lies now."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what is shown as JSON.")] = False,
) -> None:
    """Write one page with everything that a run or an ablation shows.

    addkit report runs/digits-20261124-120000 -o report.html
    """
    from dataclasses import asdict

    from addkit.cli.output import Output, note
    from addkit.report.page import check_page, write_page
    from addkit.report.parts import open_source
    from addkit.runs import newest_run

    path = folder or newest_run().path
    source = open_source(path, set_ or [])
    file = path / "report.html" if output is None else output
    check_page(file)
    told = write_page(file, source)
    if json:
        Output(json=True).data({"file": str(file), "parts": [asdict(part) for part in told]})
        return
    for part in told:
        if not part.shown:
            note(f"not shown: {part.name}: {part.reason}")
    Output().line(str(file))
