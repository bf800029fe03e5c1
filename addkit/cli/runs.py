"""`addkit runs`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import JsonOption

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.cli.run_summary import Comparison, RunDetails, RunEntry


runs = typer.Typer(help="List, show and compare runs.", rich_markup_mode=None, no_args_is_help=True)


@runs.callback()
def root() -> None:
    """List, show and compare runs."""


@runs.command("list")
def list_runs(
    root: Annotated[Path, typer.Option(help="The folder of runs.")] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """List runs, the newest first, each with its score and that of its best control.

    addkit runs list
    """
    from addkit.cli.output import Output, note
    from addkit.cli.run_summary import run_entries

    entries = run_entries(root)
    output = Output(json=json)
    if json:
        output.data([asdict(entry) for entry in entries])
    elif not entries:
        # The default folder need not exist yet: that is no mistake.
        what = "no run in" if root.is_dir() or root == Path("runs") else "no such folder:"
        note(f"{what} {root}/; train one with `addkit train RECIPE`")
    else:
        output.table(
            ["run", "recipe", "status", "score", "control", "steps", "age"],
            [_row(entry) for entry in entries],
            words=3,
            optional=["recipe", "steps", "control", "age"],
        )
        for entry in entries:
            if entry.broken:
                output.line(f"{entry.run}: {entry.broken}")
        output.hint("addkit runs show RUN, or addkit runs compare RUN RUN")


def _row(entry: RunEntry) -> list[str]:
    from addkit.evaluation.results import Score

    score = Score.named(entry.headline or "")
    controls = {name: value for name, value in (entry.controls or {}).items() if value is not None}
    # Any headline score is better the higher it is.
    best = max(controls, key=controls.__getitem__, default="")
    age = f"{entry.age_seconds} s"
    for unit, seconds in (("min", 60), ("h", 3_600), ("d", 86_400)):
        if entry.age_seconds >= seconds:
            age = f"{entry.age_seconds // seconds} {unit}"
    return [
        entry.run,
        entry.recipe or "-",
        entry.status,
        "-" if entry.score is None else f"{score.short_heading} {score.text(entry.score)}",
        f"{best} {score.text(controls[best])}" if best else "-",
        "-" if entry.steps is None else f"{entry.steps:,}",
        age,
    ]


@runs.command()
def show(
    run: Annotated[
        str, typer.Argument(help="A run's folder, or its name.", autocompletion=complete_run)
    ],
    json: JsonOption = False,
) -> None:
    """Print everything that a run's folder has: scores, plan, versions, files.

    addkit runs show runs/digits-20261124-120000
    """
    from addkit.cli.output import Output
    from addkit.cli.run_arguments import find_folder
    from addkit.cli.run_summary import run_details

    details = run_details(find_folder(run))
    output = Output(json=json)
    if json:
        output.data(asdict(details))
    else:
        _print_details(output, details)


def _print_details(output: Output, details: RunDetails) -> None:
    from addkit.evaluation.results import present
    from addkit.recipe.differences import flat

    columns = present(details.scores.values())
    if columns:
        rows = [
            [name, *(score.text(scores.get(score.name)) for score in columns)]
            for name, scores in details.scores.items()
        ]
        output.table(["model, weights", *(score.short_heading for score in columns)], rows)
        output.line()
    values = asdict(details)
    keys = ("run", "recipe", "status", "seed", "finished", "seconds", "chosen_steps")
    tables = ("facts", "plan", "parameters", "environment", "components")
    # Nested tables as `plan.steps`, one row each.
    facts = {key: values[key] for key in keys} | flat({key: values[key] or {} for key in tables})
    rows = [
        [key, f"{value:,.6g}" if isinstance(value, float) else str(value)]
        for key, value in facts.items()
        if value not in (None, {})
    ]
    output.table(["what", "value"], rows, words=2)
    output.line()
    # Checkpoints one by one, since they are what fills a disk.
    sizes = {f"checkpoints/{name}": size for name, size in details.checkpoints.items()}
    sizes |= {name: size for name, size in details.files.items() if name != "checkpoints"}
    rows = [[name, f"{size / 1024:,.0f}"] for name, size in sizes.items()]
    output.table(["file", "KiB"], rows)
    for fault in details.faults:
        output.line(fault)
    for command in details.next:
        output.hint(command)


@runs.command()
def compare(
    which: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...",
            help="Runs by folder or name; differences are from the first.",
            autocompletion=complete_run,
        ),
    ],
    page: Annotated[
        Path | None, typer.Option("-o", "--output", help="A page with figures as well, FILE.html.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare scores, recipes and environments of runs.

    addkit runs compare runs/digits-a runs/digits-b -o compared.html
    """
    from addkit.cli.output import Output, note
    from addkit.cli.run_arguments import find_folder
    from addkit.cli.run_summary import compare_runs
    from addkit.errors import UsageError

    if len(which) < 2:
        raise UsageError("compare two runs or more; `addkit runs show` shows one")
    paths = [find_folder(word) for word in which]
    comparison = compare_runs(paths)
    if page is not None:
        from addkit.cli.runs_page import write_comparison

        # Before anything is printed: a path that cannot be written is an error of usage.
        write_comparison(page, paths, comparison)
    output = Output(json=json)
    if json:
        output.data({**asdict(comparison), "file": None if page is None else str(page)})
        return
    _print_comparison(output, comparison)
    if page is not None:
        note(f"page: {page}")


def _print_comparison(output: Output, comparison: Comparison) -> None:
    from addkit.cli.run_summary import OTHER_DATA
    from addkit.evaluation.results import Score

    names = [Path(entry.run).name for entry in comparison.runs]
    columns = comparison.columns()
    rows = []
    for row in comparison.scores:
        score = Score.named(row.score)
        deltas = [score.text(row.differences[index], "+") for index, _ in columns]
        rows.append([score.short_heading, *map(score.text, row.values), *deltas])
    output.table(["score", *names, *(title for _, title in columns)], rows)
    if comparison.data:
        output.line()
        output.line(OTHER_DATA)
    tables = {"data": comparison.data} if comparison.data else {}
    tables |= {"recipe": comparison.recipe, "environment": comparison.environment}
    for title, differing in tables.items():
        output.line()
        if differing:
            cells = [difference.cells() for difference in differing]
            output.table([title, *names], cells, words=1 + len(names))
        else:
            output.line(f"{title}: the same")
