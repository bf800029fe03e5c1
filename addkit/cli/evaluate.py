"""`addkit evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.options import (
    DataOption,
    JsonOption,
    RunOption,
    SeedOption,
    WeightsOption,
    component_option,
    list_option,
)
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.evaluation.results import Evaluation, ExitRow, Uncertainty


ANSWERS, MORE = "Inference settings, each combination of them", "What else to measure"

CONFIDENCE = ("top1", "ece", "nll", "brier", "aurc", "risk80", "set_size", "set_coverage")
"""Scores of a confidence, by the fields of `ConfidenceRow`."""
INTERVALS = ("ece", "aurc")
BAR = 30
"""Characters of the bar of a whole chain."""


def _values(item: type, metavar: str, text: str) -> Any:
    return list_option(item=item, metavar=metavar, help=text, rich_help_panel=ANSWERS)


def _components(kind: str) -> Any:
    return component_option(kind, ANSWERS, several=True)


def evaluate(
    run: RunOption = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    steps: Annotated[
        list[int] | None, _values(int, "N,...", "Chain lengths, such as 1,2,5,10,20,50.")
    ] = None,
    guidance: Annotated[
        list[float] | None, _values(float, "W,...", "w in uncond + w (cond - uncond); 1 is off.")
    ] = None,
    read_out: Annotated[list[str] | None, _components("read_out")] = None,
    sampler: Annotated[list[str] | None, _components("sampler")] = None,
    to_one: Annotated[list[str] | None, _components("to_one")] = None,
    chains: Annotated[
        int | None, typer.Option(min=1, help="Chains for each image.", rich_help_panel=ANSWERS)
    ] = None,
    early_exit: Annotated[
        list[int] | None,
        _values(
            int, "N,...", "Stop a chain once its answer has not changed for N steps; 0 disables."
        ),
    ] = None,
    weights: WeightsOption = "ema",
    set_: DataOption = None,
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
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Score a run, and test whether its loop helps.

    addkit evaluate --steps 1,2,5,10,20,50 --guidance 1,1.5,2 --read-out one-pass,last
    """
    # Imported when called, so that `addkit --help` waits for neither torch nor matplotlib.
    from addkit.cli.output import Output, note, warn
    from addkit.cli.run_arguments import find_run
    from addkit.evaluation.results import never_predicted_line
    from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run, store

    grid = Grid(
        steps=steps,
        guidance=guidance,
        read_out=read_out,
        sampler=sampler,
        to_one=to_one,
        chains=chains,
        early_exit=early_exit,
    )
    options = EvaluationOptions(
        split=split,
        weights=weights,
        overrides=set_ or [],
        audit=audit,
        table3=table3,
        clip=clip,
        uncertainty=uncertainty,
        seed=seed,
    )
    path = find_run(run)
    evaluation = evaluate_run(path, grid, options)
    if json:
        Output(json=True).data(evaluation.data())
    else:
        _show(Output(), evaluation)
    for model_name, names in evaluation.never_predicted().items():
        warn(never_predicted_line(model_name, split, names))
    # Last: a disk that is full must not cost the scores.
    if (file := store(path, evaluation)) is not None:
        note(f"stored: {file}")
        Output(json=json).hint(addkit_command("report", path))
    else:
        note(f"{path}: no run's folder, so the result is in this output alone")


def _show(output: Output, evaluation: Evaluation) -> None:
    from addkit.evaluation.results import (
        CLIP_HEADINGS,
        SETTING_HEADINGS,
        TABLE3,
        Score,
        left_out,
        legend,
        present,
    )

    rows = evaluation.rows
    # A score without a value in any row, such as METEOR without WordNet, gets no column.
    scores = present(row.scores for row in rows)
    settings = [row.setting_cells() for row in rows]
    # In a narrow terminal, settings that are the same wherever they mean something go first.
    shared = [
        heading
        for heading, cells in zip(SETTING_HEADINGS, zip(*settings, strict=True), strict=True)
        if len({*cells} - {"-"}) <= 1
    ]
    output.table(
        ["model", *SETTING_HEADINGS, *(score.short_heading for score in scores)],
        [
            [row.model_name, *cells, *(score.text(row.scores.get(score.name)) for score in scores)]
            for row, cells in zip(rows, settings, strict=True)
        ],
        words=4,
        optional=[*shared, *left_out(scores)],
    )
    if "meteor" in rows[0].scores and "meteor" not in [score.name for score in scores]:
        # Absent for every row: the machine lacks WordNet, which the user can change.
        from addkit.metrics.captions import meteor_available

        output.line(f"no METEOR: {meteor_available()}")
    if text := legend(scores):
        output.line(text)
    if evaluation.audit is not None:
        output.line()
        output.table(["audit of the loop", "right %"], evaluation.audit.rows())
        output.line(evaluation.audit.answer)
    if evaluation.table3 is not None:
        table3, model = [Score.named(name) for name in TABLE3], evaluation.clip
        output.line()
        output.table(
            ["table 3", *CLIP_HEADINGS, *(score.short_heading for score in table3)],
            [
                [each.name, *each.clip_cells(), *(s.text(each.scores.get(s.name)) for s in table3)]
                for each in evaluation.table3
            ],
        )
        no_model = "no CLIP score; give a model with --clip MODEL:WEIGHTS"
        origin = f"CLIP: {model}" if model else no_model
        output.line(f"{origin}. share: {Score.named('share').meaning}")
    if evaluation.uncertainty is not None:
        _show_uncertainty(output, evaluation.uncertainty)
    if evaluation.early_exit:
        _show_early_exit(output, evaluation.early_exit)


def _show_uncertainty(output: Output, result: Uncertainty) -> None:
    from addkit.evaluation.results import Score

    headings, cells = ["confidence"], [[row.title] for row in result.rows]
    # Column by column: a score with an interval has two.
    for score in map(Score.named, CONFIDENCE):
        headings.append(score.short_heading)
        for texts, row in zip(cells, result.rows, strict=True):
            texts.append(score.text(getattr(row, score.name)))
        if score.name in INTERVALS:
            headings.append("95 %")
            for texts, row in zip(cells, result.rows, strict=True):
                low, high = (getattr(row, f"{score.name}_{end}") for end in ("low", "high"))
                texts.append(f"{score.text(low)} to {score.text(high)}")
    output.line()
    output.table(headings, cells)
    output.line(
        f"Votes and mean: {result.chains} chains of {result.steps} steps. Scaled: temperature "
        f"fitted on {result.temperature_from}. Intervals: bootstrap over images."
    )
    output.line(
        "Risk: wrong answers among the most confident images; AURC: its mean over all coverages. "
        "Set: fewest classes with 90 % of the probability."
    )
    # ECE and AURC of one confidence follow each other: a row has both.
    pairs = zip(result.comparisons[::2], result.comparisons[1::2], strict=True)
    interval = ("95 %", "it is")
    output.line()
    output.table(
        ["vote share minus", "ECE points", *interval, "AURC points", *interval],
        [
            [
                f"{ece.against}, scaled" if ece.scaled else ece.against,
                *(f"{ece.difference:+.2f}", f"{ece.low:+.2f} to {ece.high:+.2f}", ece.verdict),
                *(f"{aurc.difference:+.2f}", f"{aurc.low:+.2f} to {aurc.high:+.2f}", aurc.verdict),
            ]
            for ece, aurc in pairs
        ],
    )


def _show_early_exit(output: Output, rows: list[ExitRow]) -> None:
    """A row for each value, with a bar of the steps taken."""
    from addkit.evaluation.results import Score

    score, saved = Score.named(rows[0].metric), Score.named("saved")
    output.line()
    output.table(
        ["unchanged for", "steps taken", score.short_heading, "points", "95 %", "steps", "saved %"],
        [
            [
                str(row.early_exit) if row.early_exit else "whole chain",
                "#" * max(1, round(BAR * (1 - row.saved))),
                score.text(row.value),
                f"{row.difference:+.2f}",
                f"{row.low:+.2f} to {row.high:+.2f}",
                f"{row.mean_steps:.2f}",
                saved.text(row.saved),
            ]
            for row in rows
        ],
        words=2,
    )
