"""`addkit ablate`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from addkit.cli.completion import complete_component, complete_key, complete_recipe

if TYPE_CHECKING:
    from addkit.ablation import AblationPlan, AblationResult, Arm, Store
    from addkit.ablation.compare import BaseRow
    from addkit.recipe import Recipe


CHANGES = "What to change"

Several = list[str] | None

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


def _axis(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel=CHANGES)


def _kind(kind: str, text: str) -> Any:
    """The option that compares components of one kind."""
    complete = complete_component(kind)
    return typer.Option(
        metavar="NAME...", help=text, autocompletion=complete, rich_help_panel=CHANGES
    )


def ablate(
    context: typer.Context,
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="The base: a recipe's name or file; the digits if absent.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    loss: Annotated[Several, _kind("loss", "Losses: ce, weighted-ce, mse, mse-noise.")] = None,
    schedule: Annotated[Several, _kind("schedule", "Noise schedules.")] = None,
    timesteps: Annotated[Several, _kind("timesteps", "Training times: power, warped.")] = None,
    embedding: Annotated[Several, _kind("embedding", "Label embeddings.")] = None,
    denoiser: Annotated[Several, _kind("denoiser", "Denoisers.")] = None,
    encoder: Annotated[Several, _kind("encoder", "Encoders.")] = None,
    conditioner: Annotated[Several, _kind("conditioner", "Conditioners.")] = None,
    tokenizer: Annotated[Several, _kind("tokenizer", "Tokenizers.")] = None,
    process: Annotated[Several, _kind("process", "Processes.")] = None,
    to_one: Annotated[Several, _kind("to_one", "To-one operators: argmax, softmax.")] = None,
    sampler: Annotated[Several, _kind("sampler", "Samplers.")] = None,
    read_out: Annotated[Several, _kind("read_out", "Read-outs.")] = None,
    guidance: Annotated[Several, _axis("W...", "uncond + w (cond - uncond); 1 is off.")] = None,
    steps: Annotated[Several, _axis("N...", "Steps of a chain.")] = None,
    axis: Annotated[
        Several, _axis("TABLE.KEY=V,V...", "Any key of the recipe: schedule.scale=1,2,4.")
    ] = None,
    controls: Annotated[
        Several, _axis("HEAD...", "Matched models beside: linear, mlp, ...; see [control].")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of each arm; 3 if nothing says else.")
    ] = None,
    grid: Annotated[
        bool,
        typer.Option("--grid/--one-at-a-time", help="Every combination, or one change at a time."),
    ] = False,
    set_: Annotated[
        Several,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Change the base.",
            autocompletion=complete_key,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    store: Annotated[
        Path | None,
        typer.Option(help="Where trainings are kept and found again; runs/ablations if absent."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List arms and trainings; train nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Change one choice at a time, over the same seeds, and tell its effect from noise.

    \b
    addkit ablate --loss mse
    addkit ablate --loss mse mse-noise fashion-mnist
    addkit ablate recipes/fashion-mnist.toml --loss ce weighted-ce --guidance 1 2 --grid
    addkit ablate recipes/ablation.toml

    What was trained and scored before is used again; stopped at any time, the same command goes on.
    """
    from addkit.ablation import ABLATIONS, Store, plan
    from addkit.ablation import ablate as run
    from addkit.cli.ablation_view import AblationView
    from addkit.cli.output import Output, note
    from addkit.recipe import read_recipe
    from addkit.recipe.shipped import shipped

    base = read_recipe(recipe or shipped("digits"), set_ or [])
    what = plan(
        base,
        _wanted(base, context.params, grid=grid),
        controls=controls or base.ablation.controls,
        seeds=seeds or base.ablation.seeds,
    )
    kept = Store(store or ABLATIONS)
    if dry_run:
        _show_plan(what, kept, json)
        return
    typed = shlex.join(["addkit", *sys.argv[1:]])
    try:
        result = run(what, kept, AblationView(len(what.trainings)), jobs=jobs, command=typed)
    except KeyboardInterrupt:
        note("stopped; the same command goes on where it was")
        raise typer.Exit(130) from None
    if json:
        Output(json=True).data(result.data())
    else:
        _show(result)
    if any(row.error for row in (result.base, *result.arms)):
        raise typer.Exit(1)


def _wanted(
    recipe: Recipe, options: Mapping[str, Any], *, grid: bool
) -> list[tuple[str, tuple[str, ...]]]:
    """The arms of the command line, or else those of the recipe."""
    from addkit.ablation import Axis, combinations

    axes = [Axis(key, tuple(options[name])) for name, key in AXES.items() if options[name]]
    axes += [_parsed(text) for text in options["axis"] or []]
    if axes:
        return [("", overrides) for overrides in combinations(axes, grid=grid)]
    return [(arm.name, arm.changes) for arm in recipe.ablation.arms]


def _parsed(text: str) -> Any:
    from addkit.ablation import Axis
    from addkit.cli.several import pieces
    from addkit.errors import UsageError

    key, equals, values = text.partition("=")
    if not (equals and "." in key and values):
        raise UsageError(
            f'--axis "{text}": write TABLE.KEY=VALUE,VALUE, such as schedule.scale=1,2'
        )
    return Axis(key.strip(), tuple(pieces(values)))


def _show_plan(what: AblationPlan, store: Store, json: bool) -> None:
    from addkit.cli.output import Output

    output = Output(json=json)
    done = sum(store.run(key).finished for key in what.trainings)
    if json:
        arms = [{"name": a.name, "changes": dict(a.changes), "error": a.error} for a in what.arms]
        counts = {"train_runs": len(what.trainings), "trained": done}
        output.data({"arms": arms, "shared": what.shared, "notes": what.notes, **counts})
        return
    output.table(["arm", "changes", ""], [_planned(arm) for arm in what.arms], words=3)
    seeds = ", ".join(str(recipe.seed) for recipe in what.arms[0].recipes)
    output.line(f"\nseeds {seeds}; trainings: {len(what.trainings)}, of them done: {done}")
    for text in what.notes:
        output.line(text)


def _planned(arm: Arm) -> list[str]:
    changes = ", ".join(f"{key} = {value}" for key, value in arm.changes.items())
    return [arm.name, changes, arm.error or ""]


def _show(result: AblationResult) -> None:
    from addkit.cli.output import Output
    from addkit.cli.scores import score_columns

    output = Output()
    title = score_columns({result.metric: None})[0]
    output.table(
        ["arm", "seeds", title, "sd", "minus base", "95 % interval", "verdict", "trainings"],
        [
            _cells(result, result.base, ["", "", ""]),
            *(_cells(result, arm, _side_inputs(result, arm)) for arm in result.arms),
        ],
    )
    for row in (result.base, *result.arms):
        if row.error:
            output.line(f"{row.name}: {row.error}")
    for text in result.notes:
        output.line(text)
    trained = f"{result.trained_now} of {result.train_runs} trainings run now"
    output.line(f"\n{trained}, {result.seconds:.0f} s; {result.folder}/result.json")
    output.hint(f"addkit report {shlex.quote(str(result.folder))}")


def _cells(result: AblationResult, row: BaseRow, side_inputs: list[str]) -> list[str]:
    known = sum(value is not None for value in row.values)
    numbers = [_number(result.metric, value) for value in (row.mean, row.sd)]
    return [row.name, str(known), *numbers, *side_inputs, str(row.train_runs)]


def _side_inputs(result: AblationResult, arm: Any) -> list[str]:
    if arm.difference is None:
        return ["-", "-", arm.verdict]
    interval = "-"
    if arm.low is not None:
        low, high = (_number(result.metric, value, "+") for value in (arm.low, arm.high))
        interval = f"{low} to {high}"
    return [_number(result.metric, arm.difference, "+"), interval, arm.verdict]


def _number(metric: str, value: float | None, sign: Literal["", "+"] = "") -> str:
    from addkit.evaluation.results import Score

    return Score.named(metric).text(value, sign)
