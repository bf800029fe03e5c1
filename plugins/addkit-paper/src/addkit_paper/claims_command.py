"""`addkit claims`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import list_option

if TYPE_CHECKING:
    from addkit_paper.claims import Judgement


PAGE = Path("docs/claims.md")


def claims(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="ABLATION_FOLDER",
            help="What `addkit ablate recipes/ablation.toml` wrote; the newest such if absent.",
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
    json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Set each claim of the paper beside what was measured, and write the page of verdicts.

    addkit claims --captions runs/emoji-0,runs/emoji-1,runs/emoji-2
    """
    from addkit.cli.output import Output
    from addkit_paper.claims import check_page, judge, open_evidence, write_page

    check_page(output)
    found = judge(open_evidence(folder, [Path(run) for run in captions or []]))
    write_page(output, found)
    if json:
        Output(json=True).data({"file": str(output), **found.data()})
    else:
        _show(found, output)


def _show(found: Judgement, page: Path) -> None:
    from addkit.cli.output import Output

    output = Output()
    output.table(
        ["claim", "in the paper", "verdict", "controls"],
        [[f.claim.title, f.claim.place, f.verdict, f.control_verdict] for f in found.findings],
        words=4,
    )
    output.line()
    output.line(f"at our scale; intervals and commands: {page}")
