"""`addkit ablate`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_recipe
from addkit.cli.options import JsonOption, SetOption, component_option, list_option, split
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.ablation import AblationPlan, AblationResult, Store


CHANGES = "What to change"

Values = list[str] | None

AXES = {
    "encoder": "encoder.name",
    "conditioner": "conditioner.name",
    "tokenizer": "tokenizer.name",
    "process": "process.name",
    "embedding": "embedding.name",
    "denoiser": "denoiser.name",
    "schedule": "schedule.name",
    "timesteps": "timesteps.name",
    "loss": "loss.name",
    "to_one": "to_one.name",
    "sampler": "sampler.name",
    "read_out": "read_out.name",
    "guidance": "sampling.guidance",
    "steps": "sampling.steps",
}
"""Option -> the recipe's key."""


def _components(kind: str) -> Any:
    return component_option(kind, CHANGES, several=True)


def _axis(metavar: str, text: str) -> Any:
    return list_option(metavar=metavar, help=text, rich_help_panel=CHANGES)


def ablate(
    context: typer.Context,
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="The base: a recipe's name or file; the digits if absent.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    loss: Annotated[Values, _components("loss")] = None,
    schedule: Annotated[Values, _components("schedule")] = None,
    timesteps: Annotated[Values, _components("timesteps")] = None,
    embedding: Annotated[Values, _components("embedding")] = None,
    denoiser: Annotated[Values, _components("denoiser")] = None,
    encoder: Annotated[Values, _components("encoder")] = None,
    conditioner: Annotated[Values, _components("conditioner")] = None,
    tokenizer: Annotated[Values, _components("tokenizer")] = None,
    process: Annotated[Values, _components("process")] = None,
    to_one: Annotated[Values, _components("to_one")] = None,
    sampler: Annotated[Values, _components("sampler")] = None,
    read_out: Annotated[Values, _components("read_out")] = None,
    guidance: Annotated[Values, _axis("W,...", "uncond + w (cond - uncond); 1 is off.")] = None,
    steps: Annotated[Values, _axis("N,...", "Sampling steps.")] = None,
    axis: Annotated[
        Values, _axis("TABLE.KEY=V,V...", "Values of any key: schedule.scale=1,2,4. Repeatable.")
    ] = None,
    controls: Annotated[
        Values, _axis("HEAD,...", "Matched controls as arms: linear, mlp, ...; see [control].")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Seeds per arm (default: the recipe's, else 3)."),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option("--grid/--one-at-a-time", help="Every combination, or one change at a time."),
    ] = False,
    metric: Annotated[
        str,
        typer.Option(help="Score to compare, such as token_accuracy; else the task's own."),
    ] = "",
    set_: SetOption = None,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Trainings at a time.")] = 1,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of trainings and scores, reused; runs/ablations if absent."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List arms and trainings; train nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Change one choice at a time, over the same seeds, and separate its effect from noise.

    \b
    addkit ablate --loss mse
    addkit ablate fashion-mnist --loss mse,mse-noise
    addkit ablate recipes/fashion-mnist.toml --loss ce,weighted-ce --guidance 1,2 --grid
    addkit ablate recipes/ablation.toml

    Stored trainings and scores are reused; interrupted at any time, the same command resumes.
    """
    from addkit.ablation import ABLATIONS, Axis, Store, combinations, plan
    from addkit.ablation import ablate as run
    from addkit.cli.output import Output
    from addkit.cli.progress import AblationBars
    from addkit.distributed.signals import StopSignals
    from addkit.errors import UsageError
    from addkit.recipe import read_recipe
    from addkit.recipe.files import shipped
    from addkit.recipe.model import placed

    base = read_recipe(recipe or shipped("digits"), set_ or [])
    # From the context, since the name of each option is in `AXES` already.
    options = context.params
    axes = [Axis(key, tuple(options[name])) for name, key in AXES.items() if options[name]]
    for text in axis or []:
        key, equals, values = text.partition("=")
        if not (equals and "." in key and values):
            raise UsageError(
                f'--axis "{text}": write TABLE.KEY=VALUE,VALUE, such as schedule.scale=1,2'
            )
        axes.append(Axis(key.strip(), tuple(split(values))))
    # The arms of the command line, or else those of the recipe.
    requested = (
        [("", overrides) for overrides in combinations(axes, grid=grid)]
        if axes
        else [(arm.name, arm.changes) for arm in base.ablation.arms]
    )
    with placed(base):
        what = plan(
            base,
            requested,
            controls=controls or base.ablation.controls,
            seeds=seeds or base.ablation.seeds,
        )
    folder = Store(store or ABLATIONS)
    if dry_run:
        _print_plan(what, folder, json)
        return
    # As typed, for the report: it is what repeats the ablation.
    typed = addkit_command(*sys.argv[1:])
    with (
        StopSignals("the same command resumes"),
        closing(AblationBars(len(what.trainings))) as bars,
    ):
        result = run(what, folder, bars, jobs=jobs, command=typed, metric=metric)
    if json:
        Output(json=True).data(asdict(result))
    else:
        _print_result(result)
    # The table is printed all the same: the other arms are worth their time.
    if any(row.error for row in (result.base, *result.arms)):
        raise typer.Exit(1)


def _print_plan(what: AblationPlan, store: Store, json: bool) -> None:
    from addkit.cli.output import Output

    output = Output(json=json)
    # Shared with other ablations: their trainings count as done.
    trained = sum(store.run(key).finished for key in what.trainings)
    if json:
        arms = [
            {"name": a.name, "changes": dict(a.changes), "reference": a.reference, "error": a.error}
            for a in what.arms
        ]
        counts = {"train_runs": len(what.trainings), "trained": trained}
        output.data({"arms": arms, "shared": what.shared, "notes": what.notes, **counts})
        return
    rows = [[arm.name, _changes(arm.changes), arm.error or ""] for arm in what.arms]
    output.table(["arm", "changes", ""], rows, words=3)
    seeds = ", ".join(str(recipe.seed) for recipe in what.arms[0].recipes)
    output.line()
    output.line(f"seeds {seeds}; trainings: {len(what.trainings)}, of them done: {trained}")
    for text in what.notes:
        output.line(text)


def _changes(changes: Mapping[str, Any]) -> str:
    """Every key in which an arm differs, and its value; a dash where its component has none."""
    from addkit.recipe.toml import toml_value

    return ", ".join(
        f"{key} = {'-' if value is None else toml_value(value)}" for key, value in changes.items()
    )


def _print_result(result: AblationResult) -> None:
    from addkit.ablation import ArmRow
    from addkit.cli.output import Output
    from addkit.evaluation.results import Score

    score = Score.named(result.metric)
    rows = []
    for row in (result.base, *result.arms):
        # Seeds with a score; the others have failed.
        trained = sum(value is not None for value in row.values)
        comparison = ["", "", ""]
        if isinstance(row, ArmRow):
            interval = "-"
            if row.low is not None:
                interval = f"{score.text(row.low, '+')} to {score.text(row.high, '+')}"
            comparison = [score.text(row.difference, "+"), interval, row.verdict]
        numbers = [score.text(row.mean), score.text(row.sd)]
        rows.append([row.name, str(trained), *numbers, *comparison, str(row.train_runs)])
    output = Output()
    difference = ["minus base", "95 % interval", "verdict"]
    output.table(["arm", "seeds", score.short_heading, "sd", *difference, "trainings"], rows)
    for row in (result.base, *result.arms):
        if row.error:
            output.line(f"{row.name}: {row.error}")
    output.line()
    output.line("differences of the resolved recipes:")
    for row in result.arms:
        if not row.error:
            output.line(f"  {row.name}: {_changes(row.changes)}")
    for text in result.notes:
        output.line(text)
    trainings = f"{result.trained_now} of {result.train_runs} trainings run now"
    output.line()
    output.line(f"{trainings}, {result.seconds:.0f} s; {result.folder}/result.json")
    output.hint(addkit_command("report", result.folder))
