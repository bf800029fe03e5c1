"""How `addkit evaluate` shows confidences, and chains that are left early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addkit.cli.output import Output


BAR = 30
"""Characters of a chain whose steps are all taken."""


def show_uncertainty(output: Output, found: dict[str, Any]) -> None:
    """The rows of `addkit.evaluation.uncertainty.Uncertainty`, then what the votes are worth."""
    output.line()
    output.table(
        [
            *("confidence", "top-1 %", "ECE %", "95 %", "NLL", "Brier"),
            *("AURC %", "95 %", "risk % at 80 %", "set", "in set %"),
        ],
        [_confidence_cells(row) for row in found["rows"]],
    )
    output.line(
        f"Votes and mean: {found['chains']} chains of {found['steps']} steps. Scaled: temperature "
        f"fitted on {found['temperature_from']}. Intervals: bootstrap over images."
    )
    output.line(
        "Risk: wrong answers among the surest images; AURC: its mean over all coverages. "
        "Set: fewest classes that hold 90 % of the probability."
    )
    pairs = zip(found["comparisons"][::2], found["comparisons"][1::2], strict=True)
    output.line()
    output.table(
        ["vote share minus", *("ECE points", "95 %", "it is"), *("AURC points", "95 %", "it is")],
        [
            [_name(ece["against"], ece["scaled"]), *_difference(ece), *_difference(aurc)]
            for ece, aurc in pairs
        ],
    )


def _difference(row: dict[str, Any]) -> list[str]:
    interval = f"{row['low']:+.2f} to {row['high']:+.2f}"
    return [f"{row['difference']:+.2f}", interval, row["verdict"]]


def _confidence_cells(row: dict[str, Any]) -> list[str]:
    return [
        _name(row["confidence"], row["scaled"]),
        f"{row['top1']:.2f}",
        f"{row['ece']:.2f}",
        f"{row['ece_low']:.2f} to {row['ece_high']:.2f}",
        f"{row['nll']:.4f}",
        f"{row['brier']:.4f}",
        f"{row['aurc']:.2f}",
        f"{row['aurc_low']:.2f} to {row['aurc_high']:.2f}",
        f"{row['risk80']:.2f}",
        f"{row['set_size']:.2f}",
        f"{row['set_coverage']:.2f}",
    ]


def _name(confidence: str, scaled: bool) -> str:
    return f"{confidence}, scaled" if scaled else confidence


def show_early_exit(output: Output, rows: list[dict[str, Any]]) -> None:
    """The rows of `addkit.evaluation.early_exit.exit_curve`, with a bar of the steps taken."""
    from addkit.cli.scores import score_cells, score_columns

    known = ("early_exit", "mean_steps", "saved", "difference", "low", "high")
    scores = [{key: row[key] for key in row if key not in known} for row in rows]
    output.line()
    output.table(
        ["stood", "steps taken", *score_columns(scores[0]), "points", "95 %", "steps", "saved %"],
        [
            [
                str(row["early_exit"]) if row["early_exit"] else "never left",
                "#" * max(1, round(BAR * (1 - row["saved"]))),
                *score_cells(score),
                f"{row['difference']:+.2f}",
                f"{row['low']:+.2f} to {row['high']:+.2f}",
                f"{row['mean_steps']:.2f}",
                f"{100 * row['saved']:.1f}",
            ]
            for row, score in zip(rows, scores, strict=True)
        ],
        words=2,
    )
