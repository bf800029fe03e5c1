"""`addkit report`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from addkit.cli.completion import FIGURES, complete_key, complete_run


def report(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_OR_ABLATION",
            help="What to report; the newest finished run if absent.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page; report.html in the folder if absent."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="data.KEY=VALUE",
            help="Where the data lies now.",
            autocompletion=complete_key,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what is shown as JSON.")] = False,
) -> None:
    """Write one page with everything that a run or an ablation shows.

    addkit report runs/digits-20261124-120000 -o report.html
    """
    from dataclasses import asdict

    from addkit.cli.image_arguments import find_folder
    from addkit.cli.output import Output, note
    from addkit.report.page import check_page, write_page
    from addkit.report.sections import open_source
    from addkit.runs import newest_run

    path = newest_run().path if folder is None else find_folder(folder)
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
    drawn = next((part.name for part in told if part.shown and part.name in FIGURES), None)
    if drawn is not None:
        Output().hint(f"addkit plot {drawn} {quote(str(path))} -o {drawn}.svg")
