"""`addkit plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from addkit.cli.completion import FIGURES, complete_figure
from addkit.cli.options import DataOption, JsonOption, RunOrAblation


def plot(
    figure: Annotated[
        str, typer.Argument(help=f"{', '.join(FIGURES)}.", autocompletion=complete_figure)
    ],
    folder: RunOrAblation = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FILE.png or FILE.svg; required.")
    ] = None,
    set_: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Write one figure of a report as PNG or SVG.

    addkit plot steps runs/digits-20261124-120000 -o steps.svg
    """
    from addkit.cli.output import Output
    from addkit.cli.run_arguments import find_folder
    from addkit.report.contents import check_name, figure_of
    from addkit.report.figures import write_figure
    from addkit.report.figures.style import check_figure
    from addkit.report.sections import open_source
    from addkit.runs import newest_run

    # Before the run is read, so that a mistyped name or ending fails at once.
    check_name(figure)
    file = check_figure(output)
    path = newest_run().path if folder is None else find_folder(folder)
    section = figure_of(figure, open_source(path, set_ or []))
    assert section.draw is not None
    write_figure(section.draw(), file)
    if json:
        Output(json=True).data({"file": str(file), "figure": figure, "caption": section.caption})
        return
    Output().line(str(file))
