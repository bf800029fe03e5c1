"""`addkit schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addkit.cli.completion import complete_component
from addkit.cli.options import JsonOption, list_option

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.report.schedule_profiles import ScheduleProfile
    from addkit.schedules.suggest import Suggestion


schedule = typer.Typer(help="Look at noise schedules.", rich_markup_mode=None, no_args_is_help=True)


@schedule.callback()
def root() -> None:
    """Look at noise schedules."""


@schedule.command()
def show(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Schedules, plugins' too; all if none is named.",
            autocompletion=complete_component("schedule"),
        ),
    ] = None,
    classes: Annotated[
        int,
        typer.Option(
            min=2, max=10_000_000, help="K, classes of one label or words of a vocabulary."
        ),
    ] = 10,
    scale: Annotated[
        list[float] | None,
        list_option(item=float, metavar="B,...", help="Heights of the hot entry, such as 1,2."),
    ] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Rank schedules and scales for this K.")
    ] = False,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Draw it: PNG or SVG.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a noisy label still tells over time, for schedules side by side.

    addkit schedule show cosine label-accuracy --classes 1000 --scale 1,2
    """
    from addkit.cli.output import Output, note
    from addkit.report.figures import write_figure
    from addkit.report.figures.schedules import draw_schedules
    from addkit.report.figures.style import check_figure
    from addkit.report.schedule_profiles import schedule_profiles
    from addkit.schedules.suggest import SCALES
    from addkit.schedules.suggest import suggest as ranked

    if out is not None:
        check_figure(out)
    shown = schedule_profiles(names or [], scale or [], classes)
    best = ranked(classes, scale or SCALES) if suggest else []
    if json:
        Output(json=True).data(_data(classes, shown, best))
    else:
        _show(Output(), classes, shown, best)
    if out is not None:
        write_figure(draw_schedules(shown, classes), out)
        note(f"drawn: {out}")


def _data(classes: int, shown: list[ScheduleProfile], best: list[Suggestion]) -> dict[str, object]:
    return {
        "classes": classes,
        "schedules": [view.data() for view in shown],
        "suggested": [
            {"schedule": one.schedule, "scale": one.scale, "informative_share": one.share}
            for one in best
        ],
    }


def _show(
    output: Output, classes: int, shown: list[ScheduleProfile], best: list[Suggestion]
) -> None:
    output.line(f"K = {classes:,} classes\n")
    for view in shown:
        output.table(["t", "alpha_bar", "log SNR", "P(arg max)", "bits", "share"], _rows(view))
        output.line(view.title)
        output.line()
    if best:
        output.table(
            ["suggested", "b", "informative %"],
            [[one.schedule, f"{one.scale:g}", f"{100 * one.share:.1f}"] for one in best],
        )
        output.line()
    output.line("informative: y_t holds 5 to 95 % of the label's log2 K bits (docs/theory.md)")


EVERY = 10
"""Of the points computed, one in so many is a row."""
WIDTH = 20
"""Of a bar in characters."""


def _rows(view: ScheduleProfile) -> list[list[str]]:
    profile = view.profile
    columns = (profile.t, profile.alpha_bar, profile.log_snr, profile.probability, profile.bits)
    full = max(float(profile.bits.max()), 1e-9)
    return [
        [f"{t:.1f}", f"{alpha:.4f}", f"{snr:.2f}", f"{p:.4f}", f"{bits:.3f}", _bar(bits / full)]
        for t, alpha, snr, p, bits in zip(*(c[::EVERY].tolist() for c in columns), strict=True)
    ]


def _bar(share: float) -> str:
    filled = round(WIDTH * share)
    return "█" * filled + "░" * (WIDTH - filled)
