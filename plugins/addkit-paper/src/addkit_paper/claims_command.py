"""`addkit claims`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import JsonOption, list_option

PAGE = Path("docs/claims.md")


def claims(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="ABLATION_FOLDER",
            help="Folder that `addkit ablate recipes/ablation.toml` wrote; by default the newest.",
            show_default=False,
        ),
    ] = None,
    captions: Annotated[
        list[str] | None,
        list_option(
            metavar="RUN,...",
            help="Runs of a captioning recipe, one for each seed.",
            autocompletion=complete_run,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page, in Markdown.")] = PAGE,
    json: JsonOption = False,
) -> None:
    """Compare each claim of the paper with stored results, and write the page of verdicts.

    addkit claims --captions runs/emoji-0,runs/emoji-1,runs/emoji-2
    """
    from addkit.cli.output import Output
    from addkit_paper.claims import assess, check_page, open_results, write_page

    check_page(output)
    assessment = assess(open_results(folder, [Path(run) for run in captions or []]))
    write_page(output, assessment)
    printed = Output(json=json)
    if json:
        printed.data({"file": str(output), **assessment.data()})
        return
    rows = [
        [one.claim.title, one.claim.place, one.verdict, one.control_verdict]
        for one in assessment.claims
    ]
    printed.table(["claim", "in the paper", "verdict", "controls"], rows, words=4)
    printed.line()
    printed.line(f"at our scale; intervals and commands: {output}")
