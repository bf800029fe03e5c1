"""`addkit evaluate`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_key, complete_run
from addkit.cli.options import component_option, list_option

if TYPE_CHECKING:
    from addkit.evaluation.run import Evaluation


ANSWERS, MORE = "Ways to answer, each combination of them", "What else to measure"


def evaluate(
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder; the newest finished run if absent.", autocompletion=complete_run
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    steps: Annotated[
        list[int] | None,
        list_option(
            item=int,
            metavar="N,...",
            help="Chain lengths, such as 1,2,5,10,20,50.",
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    guidance: Annotated[
        list[float] | None,
        list_option(
            item=float,
            metavar="W,...",
            help="w in uncond + w (cond - uncond); 1 is off.",
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    read_out: Annotated[
        list[str] | None, component_option("read_out", ANSWERS, several=True)
    ] = None,
    sampler: Annotated[list[str] | None, component_option("sampler", ANSWERS, several=True)] = None,
    to_one: Annotated[list[str] | None, component_option("to_one", ANSWERS, several=True)] = None,
    chains: Annotated[
        int | None, typer.Option(min=1, help="Chains for each image.", rich_help_panel=ANSWERS)
    ] = None,
    early_exit: Annotated[
        list[int] | None,
        list_option(
            item=int,
            metavar="N,...",
            help="Stop a chain once its answer has not changed for N steps; 0 disables.",
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="ema (averaged) or raw.")] = "ema",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="data.KEY=VALUE",
            help="Where the data lies now.",
            autocompletion=complete_key,
        ),
    ] = None,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit/--no-audit", help="Score the loop under five conditions.", rich_help_panel=MORE
        ),
    ] = True,
    table3: Annotated[
        bool,
        typer.Option(
            "--table3/--no-table3",
            help="Captions: compare with copies and other processes.",
            rich_help_panel=MORE,
        ),
    ] = True,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL:WEIGHTS",
            help="Captions: CLIP score by an open_clip tag, a weight file, or a folder.",
            rich_help_panel=MORE,
        ),
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="One label: compare votes of --chains (10) with the other confidences.",
            rich_help_panel=MORE,
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score a run, and audit what its loop does.

    addkit evaluate --steps 1,2,5,10,20,50 --guidance 1,1.5,2 --read-out one-pass,last
    """
    from dataclasses import asdict

    from addkit.cli.image_arguments import find_run
    from addkit.cli.output import Output, note
    from addkit.evaluation.run import Grid, Wish, evaluate_run

    grid = Grid(
        steps=steps,
        guidance=guidance,
        read_out=read_out,
        sampler=sampler,
        to_one=to_one,
        chains=chains,
        early_exit=early_exit,
    )
    path = find_run(run)
    wish = Wish(
        split=split,
        weights=weights,
        overrides=set_ or [],
        audit=audit,
        table3=table3,
        clip=clip,
        uncertainty=uncertainty,
        seed=seed,
    )
    found = evaluate_run(path, grid, wish)
    if json:
        Output(json=True).data(asdict(found))
    else:
        _show(found)
    if (path / "recipe.toml").exists():
        note(f"stored: {path / 'evaluation.json'}")
        Output(json=json).hint(f"addkit report {quote(str(path))}")


WAY = ("steps", "guidance", "to_one", "sampler", "read_out", "chains", "one_pass")
"""Keys of a result that say how it was made; the others are scores."""


def _show(found: Evaluation) -> None:
    from addkit.cli.confidence import show_early_exit, show_uncertainty
    from addkit.cli.output import Output
    from addkit.cli.scores import legend, score_cells, score_columns

    output = Output()
    rows = [*found.results, *found.controls]
    # A score that no row has, such as METEOR without WordNet, takes no column.
    names = {key: None for row in rows for key in row if key not in WAY and row[key] is not None}
    output.table(
        ["read-out", "sampler", "to-one", "steps", "w", *score_columns(names)],
        [
            [
                row["read_out"],
                row["sampler"],
                row["to_one"],
                f"{row['steps']}{'*' if row['one_pass'] else ''}",
                f"{row['guidance']:g}",
                *score_cells({name: row.get(name) for name in names}),
            ]
            for row in rows
        ],
    )
    if "meteor" in rows[0] and "meteor" not in names:
        from addkit.metrics.captions import meteor_available

        output.line(f"no METEOR: {meteor_available()}")
    if legend(names):
        output.line(legend(names))
    if any(row["one_pass"] for row in found.results):
        output.line("* this read-out answers in one pass, whatever the steps")
    if found.audit is not None:
        _show_audit(output, found.audit)
    if found.table3 is not None:
        _show_table3(output, found.table3, found.clip)
    if found.uncertainty is not None:
        show_uncertainty(output, found.uncertainty)
    if found.early_exit is not None:
        show_early_exit(output, found.early_exit)


def _show_audit(output: Any, audit: dict[str, Any]) -> None:
    control = "-" if audit["control"] is None else f"{audit['control']:.2f}"
    output.line()
    output.table(
        ["audit of the loop", "right %"],
        [
            ["t = T alone", f"{audit['first_step']:.2f}"],
            [f"after the last of {audit['steps']} steps", f"{audit['last_step']:.2f}"],
            ["y_t shuffled between images", f"{audit['shuffled_state']:.2f}"],
            ["no image", f"{audit['no_image']:.2f}"],
            ["control", control],
        ],
    )
    output.line(audit["answer"])


def _show_table3(output: Any, rows: list[dict[str, Any]], clip: str | None) -> None:
    from addkit.cli.scores import score_cells, score_columns
    from addkit.report.table3 import CLIP_COLUMNS, TABLE3, clip_cells

    shown = [{name: row.get(name) for name in TABLE3} for row in rows]
    output.line()
    output.table(
        ["table 3", *CLIP_COLUMNS, *score_columns(shown[0])],
        [
            [row["row"], *clip_cells(row), *score_cells(told)]
            for row, told in zip(rows, shown, strict=True)
        ],
    )
    note = f"CLIP: {clip}" if clip else "no CLIP score; give a model with --clip MODEL:WEIGHTS"
    output.line(f"{note}. share: of the way from shuffled to true captions, by cosine")
