"""`addkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from addkit.recipe import Recipe
    from addkit.runs import Run
    from addkit.training.train import TrainResult

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="The experiment, a TOML file.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Change the recipe; the value is TOML. May be repeated.",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run goes; runs/NAME-TIME if not given.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the last checkpoint of --run-dir or of the newest run."
        ),
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Begin anew; an old run in --run-dir is moved aside."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and print the sizes; write nothing."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a recipe, and its matched control beside it.

    addkit train recipes/digits.toml --set training.epochs=5
    """
    from addkit.errors import UsageError
    from addkit.recipe import read_recipe

    if resume and fresh:
        raise UsageError("--resume goes on and --fresh begins anew; give one of them")
    read = read_recipe(recipe, set_ or [])
    if dry_run:
        _dry_run(read, json)
    else:
        _train(read, run_dir, resume=resume, fresh=fresh, json=json)


def _dry_run(recipe: Recipe, json: bool) -> None:
    from addkit.cli.output import Output
    from addkit.training.dry_run import dry_run

    sizes = dry_run(recipe)
    output = Output(json=json)
    if json:
        output.data(sizes)
    else:
        output.table(["", ""], _size_rows(sizes), title=f"{recipe.name}: dry run, nothing written")


def _size_rows(sizes: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(f"parameters, {k}", f"{v:,}") for k, v in sizes["parameters"].items()]
    rows += [
        ("global batch", f"{sizes['global_batch']:,}"),
        (
            "  = images x processes x accumulation",
            f"{sizes['per_process_batch']} x {sizes['processes']} x {sizes['accumulation']}",
        ),
        ("steps per epoch x epochs", f"{sizes['steps_per_epoch']:,} x {sizes['epochs']}"),
        ("steps in all", f"{sizes['steps']:,} ({sizes['warmup_steps']:,} of them warm-up)"),
        ("peak learning rate", f"{sizes['learning_rate']:g} ({sizes['learning_rate_rule']})"),
    ]
    rows += [
        (f"memory estimate, {k.replace('_', ' ')}", f"{v / 2**20:,.1f} MiB")
        for k, v in sizes["memory"].items()
    ]
    rows += [(f"images, {k}", f"{v:,}") for k, v in sizes["splits"].items()]
    rows += [("classes", f"{sizes['classes']:,}"), ("tokens of an image", f"{sizes['tokens']}")]
    rows += [(name.replace("_", " "), f"{count:,}") for name, count in sizes["notes"].items()]
    rows += [("will read", file) for file in sizes["files"]]
    return rows


def _train(recipe: Recipe, run_dir: Path | None, *, resume: bool, fresh: bool, json: bool) -> None:
    from addkit.cli.live import LiveView
    from addkit.cli.output import Output, note
    from addkit.cli.run_folder import choose_run, clean_start
    from addkit.training.train import train as fit

    run = choose_run(recipe, run_dir, resume=resume, fresh=fresh)
    note(f"run: {run.path}")
    with clean_start(run):
        result = fit(run.recipe(), run, LiveView())
    if json:
        Output(json=True).data(result.data())
    else:
        _summary(run, result)


def _summary(run: Run, result: TrainResult) -> None:
    from addkit.cli.output import Output
    from addkit.cli.scores import legend, score_cells, score_columns

    output = Output()
    shown = [("ADD", result.scores), *((f"control, {h}", s) for h, s in result.controls.items())]
    rows = [(name, *pair) for name, both in shown for pair in both.items()]
    names = {key: None for *_, scores in rows for key in scores if scores[key] is not None}
    output.table(
        ["test", "weights", *score_columns(names)],
        [
            (name, weights, *score_cells({key: scores.get(key) for key in names}))
            for name, weights, scores in rows
        ],
    )
    if legend(names):
        output.line(legend(names))
    output.line(f"\n{result.seconds:.0f} s, run {run.path}")
    output.line(f"next: addkit evaluate --run {run.path}")
    steps = " --steps 20" if result.metric == "top1" else ""
    output.line(f"      addkit sample --run {run.path}{steps} IMAGE")
