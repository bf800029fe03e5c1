"""`addkit runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_run

if TYPE_CHECKING:
    from addkit.cli.output import Output


runs = typer.Typer(help="Look at runs.", rich_markup_mode=None, no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@runs.callback()
def root() -> None:
    """Look at runs."""


@runs.command("list")
def list_runs(
    root: Annotated[Path, typer.Option(help="The folder that holds them.")] = Path("runs"),
    json: Json = False,
) -> None:
    """List runs, the newest first, each with its score and that of its best control.

    addkit runs list
    """
    from addkit.cli.output import Output, note
    from addkit.cli.run_summary import run_entries

    found = run_entries(root)
    output = Output(json=json)
    if json:
        output.data(found)
    elif not found:
        what = "no run in" if root.is_dir() or root == Path("runs") else "no such folder:"
        note(f"{what} {root}/; train one with `addkit train RECIPE`")
    else:
        output.table(
            ["run", "recipe", "status", "score", "", "control", "", "steps", "age"],
            [_cells(row) for row in found],
            words=4,
        )
        for row in found:
            if row["broken"]:
                output.line(f"{row['run']}: {row['broken']}")
        output.hint("addkit runs show RUN, or addkit runs compare RUN RUN")


def _cells(row: dict[str, Any]) -> list[str]:
    from addkit.cli.scores import score_cells, score_columns

    headline = row["headline"] or ""
    controls = {n: score for n, score in (row["controls"] or {}).items() if score is not None}
    best = max(controls, key=controls.__getitem__, default="")
    shown = [score_cells({headline: value})[0] for value in (row["score"], controls.get(best))]
    return [
        row["run"],
        str(row["recipe"] or "-"),
        row["status"],
        score_columns({headline: None})[0] if headline else "-",
        shown[0],
        best or "-",
        shown[1],
        "-" if row["steps"] is None else f"{row['steps']:,}",
        _age(row["age_seconds"]),
    ]


def _age(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@runs.command()
def show(
    run: Annotated[
        str, typer.Argument(help="A run's folder, or its name.", autocompletion=complete_run)
    ],
    json: Json = False,
) -> None:
    """Tell everything that a run knows of itself.

    addkit runs show runs/digits-20261124-120000
    """
    from addkit.cli.image_arguments import find_folder
    from addkit.cli.output import Output
    from addkit.cli.run_summary import told

    found = told(find_folder(run))
    output = Output(json=json)
    if json:
        output.data(found)
        return
    _show_scores(output, found["scores"])
    output.table(["what", "value"], _about(found), words=2)
    output.line()
    sizes = [
        *((f"checkpoints/{name}", size) for name, size in found["checkpoints"].items()),
        *((name, size) for name, size in found["files"].items() if name != "checkpoints"),
    ]
    output.table(["file", "KiB"], [[name, f"{size / 1024:,.0f}"] for name, size in sizes])
    for command in found["next"]:
        output.hint(command)


def _show_scores(output: Output, scores: dict[str, dict[str, Any]]) -> None:
    from addkit.cli.scores import score_cells, score_columns

    known = {k: None for one in scores.values() for k, value in one.items() if value is not None}
    if not known:
        return
    output.table(
        ["model, weights", *score_columns(known)],
        [[n, *score_cells({k: one.get(k) for k in known})] for n, one in scores.items()],
    )
    output.line()


def _about(found: dict[str, Any]) -> list[list[str]]:
    from addkit.recipe.differences import flat

    keys = ("run", "recipe", "status", "seed", "finished", "seconds", "chosen_steps")
    tables = ("facts", "plan", "parameters", "environment", "components")
    told = {key: found[key] for key in keys} | flat({key: found[key] or {} for key in tables})
    return [
        [key, f"{value:,.6g}" if isinstance(value, float) else str(value)]
        for key, value in told.items()
        if value not in (None, {})
    ]


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
    json: Json = False,
) -> None:
    """Set runs side by side: scores, recipes, environments.

    addkit runs compare runs/digits-a runs/digits-b -o compared.html
    """
    from addkit.cli.image_arguments import find_folder
    from addkit.cli.output import Output, note
    from addkit.cli.run_summary import compared
    from addkit.errors import UsageError

    if len(which) < 2:
        raise UsageError("compare two runs or more; `addkit runs show` tells of one")
    paths = [find_folder(word) for word in which]
    found = compared(paths)
    if page is not None:
        from addkit.cli.runs_page import write_comparison

        write_comparison(page, paths, found)
    output = Output(json=json)
    if json:
        output.data({**found, "file": None if page is None else str(page)})
        return
    _show_compared(output, [path.name for path in paths], found)
    if page is not None:
        note(f"page: {page}")


def _signed(name: str, difference: float | None) -> str:
    from addkit.cli.scores import score_cells

    if difference is None:
        return "-"
    return ("-" if difference < 0 else "+") + score_cells({name: abs(difference)})[0]


def _show_compared(output: Output, names: list[str], found: dict[str, Any]) -> None:
    from addkit.cli.recipes import worded
    from addkit.cli.run_summary import OTHER_DATA, subtracted
    from addkit.cli.scores import score_cells, score_columns

    rows, minus = [], subtracted(names, found)
    for row in found["scores"]:
        cells = [score_cells({row["score"]: value})[0] for value in row["values"]]
        deltas = [_signed(row["score"], row["differences"][place]) for place, _ in minus]
        rows.append([score_columns({row["score"]: None})[0], *cells, *deltas])
    output.table(["score", *names, *(title for _, title in minus)], rows)
    if found["data"]:
        output.line(f"\n{OTHER_DATA}")
    for title in ("data", "recipe", "environment"):
        if title == "data" and not found["data"]:
            continue
        differing = [[row["key"], *map(worded, row["values"])] for row in found[title]]
        output.line()
        if differing:
            output.table([title, *names], differing, words=1 + len(names))
        else:
            output.line(f"{title}: the same")
