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


schedule = typer.Typer(
    help="Show and compare noise schedules.", rich_markup_mode=None, no_args_is_help=True
)


@schedule.callback()
def root() -> None:
    """Show and compare noise schedules."""


@schedule.command()
def show(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Schedules, built in or of plugins; all if none is named.",
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
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Draw the profiles: FILE.png or FILE.svg.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the information in a noisy label over time, for one schedule or several.

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
        check_figure(out)  # before the profiles are computed
    profiles = schedule_profiles(names or [], scale or [], classes)
    best = ranked(classes, scale or SCALES) if suggest else []
    if json:
        suggested = [
            {"schedule": each.schedule, "scale": each.scale, "informative_share": each.share}
            for each in best
        ]
        schedules = [profile.data() for profile in profiles]
        Output(json=True).data({"classes": classes, "schedules": schedules, "suggested": suggested})
    else:
        _show(Output(), classes, profiles, best)
    if out is not None:
        write_figure(draw_schedules(profiles, classes), out)
        note(f"drawn: {out}")


def _show(
    output: Output, classes: int, profiles: list[ScheduleProfile], best: list[Suggestion]
) -> None:
    output.line(f"K = {classes:,} classes")
    output.line()
    for profile in profiles:
        output.table(["t", "alpha_bar", "log SNR", "P(arg max)", "bits", "share"], _rows(profile))
        output.line(profile.title)
        output.line()
    if best:
        output.table(
            ["suggested", "b", "informative %"],
            [[each.schedule, f"{each.scale:g}", f"{100 * each.share:.1f}"] for each in best],
        )
        output.line()
    output.line("informative: y_t contains 5 to 95 % of the label's log2 K bits (docs/theory.md)")


EVERY = 10
"""Points of the profile for one row of the table."""
WIDTH = 20
"""Characters of a bar."""


def _rows(of_schedule: ScheduleProfile) -> list[list[str]]:
    profile = of_schedule.profile
    columns = (profile.t, profile.alpha_bar, profile.log_snr, profile.probability, profile.bits)
    # Bars are relative to the most informative time, which may lie far below log2 K bits.
    full = max(float(profile.bits.max()), 1e-9)
    return [
        [f"{t:.1f}", f"{alpha:.4f}", f"{snr:.2f}", f"{p:.4f}", f"{bits:.3f}", _bar(bits / full)]
        for t, alpha, snr, p, bits in zip(*(c[::EVERY].tolist() for c in columns), strict=True)
    ]


def _bar(share: float) -> str:
    filled = round(WIDTH * share)
    return "█" * filled + "░" * (WIDTH - filled)
