"""`addkit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from addkit.cli.completion import FIGURES
from addkit.cli.options import DataOption, JsonOption, RunOrAblation
from addkit.terminal import addkit_command


def report(
    folder: RunOrAblation = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File of the page; report.html in the folder if absent."
        ),
    ] = None,
    set_: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Write one page with all tables and figures of a run or an ablation.

    addkit report runs/digits-20261124-120000 -o report.html
    """
    from dataclasses import asdict

    from addkit.cli.output import Output, note
    from addkit.cli.run_arguments import find_folder
    from addkit.report.page import check_page, write_page
    from addkit.report.sections import open_source
    from addkit.runs import newest_run

    path = newest_run().path if folder is None else find_folder(folder)
    source = open_source(path, set_ or [])
    file = path / "report.html" if output is None else output
    # Before any section is made, which may take minutes.
    check_page(file)
    sections = write_page(file, source)
    if json:
        statuses = [asdict(section) for section in sections]
        Output(json=True).data({"file": str(file), "sections": statuses})
        return
    # One line a reason: a missing plugin, for one, is the reason of many sections.
    for reason in dict.fromkeys(section.reason for section in sections if not section.shown):
        names = [section.name for section in sections if section.reason == reason]
        note(f"not shown: {', '.join(names)}: {reason}")
    Output().line(str(file))
    figures = [section.name for section in sections if section.shown and section.name in FIGURES]
    if figures:
        Output().hint(addkit_command("plot", figures[0], path, "-o", f"{figures[0]}.svg"))
