"""`addkit train`, and the plan that `--dry-run` prints."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addkit.cli.completion import complete_recipe
from addkit.cli.options import JsonOption, SetOption
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.planning.dry_run import Communication, DryRun, TimeEstimate
    from addkit.recipe import Recipe
    from addkit.training.train import TrainResult


MIB = 2**20


def print_plan(
    recipe: Recipe,
    processes: int | None,
    images_per_second: float | None,
    *,
    measure: bool,
    mfu: float | None,
    gpu: str,
    json: bool,
) -> None:
    """Print sizes, memory, communication and time. Writes nothing."""
    from addkit.cli.output import Output
    from addkit.planning.dry_run import dry_run

    plan = dry_run(recipe, processes, images_per_second, measure=measure, mfu=mfu, gpu=gpu)
    output = Output(json=json)
    if json:
        output.data(plan.data())
        return
    rows = [*_sizes(plan), *_communication(plan.communication), *_time(plan.time)]
    rows += [
        *plan.input.rows(),
        *((f"images, {split}", f"{size:,}") for split, size in plan.splits.items()),
        *([("features", plan.features.reason or plan.features.text())] if plan.features else []),
        ("classes", f"{plan.classes:,}"),
        *plan.contents,
        ("tokens of an image", f"{plan.tokens}"),
        *((name.replace("_", " "), f"{count:,}") for name, count in plan.notes.items()),
        *(("will read", file) for file in plan.files),
    ]
    output.table(["", ""], rows, title=f"{recipe.name}: dry run, nothing written")


def _sizes(run: DryRun) -> list[tuple[str, str]]:
    plan = run.plan
    return [
        *((f"parameters, {part}", f"{n:,}") for part, n in asdict(run.parameters).items()),
        ("global batch", f"{plan.global_batch:,}"),
        (
            "  = images x processes x accumulation",
            f"{plan.per_process_batch} x {plan.processes} x {plan.accumulation}",
        ),
        ("steps per epoch x epochs", f"{plan.steps_per_epoch:,} x {plan.epochs}"),
        ("steps in all", f"{plan.steps:,} ({plan.warmup_steps:,} of them warm-up)"),
        ("peak learning rate", f"{plan.peak_lr:g} ({run.learning_rate_rule})"),
        *(
            (f"memory of a process, {part.replace('_', ' ')}", f"{size / MIB:,.1f} MiB")
            for part, size in run.memory.items()
        ),
    ]


def _communication(sent: Communication) -> list[tuple[str, str]]:
    if not sent.total:
        return []
    parts = {"weights": sent.weights, "gradients": sent.gradients, "total": sent.total}
    return [
        *(
            (f"sent by a process in a step ({sent.strategy}), {part}", f"{size / MIB:,.1f} MiB")
            for part, size in parts.items()
        ),
        *(
            (f"  that takes, at {speed}", f"{1000 * seconds:,.1f} ms")
            for speed, seconds in sent.seconds.items()
        ),
    ]


def _time(time: TimeEstimate | None) -> list[tuple[str, str]]:
    if time is None:
        return [("time", "add --images-per-second N, --measure or --mfu PERCENT")]
    return [
        (f"images a second and process ({time.source})", f"{time.images_per_second:,.1f}"),
        ("time of a step", f"{time.step_seconds:,.3f} s"),
        ("time of an epoch", str(timedelta(seconds=round(time.epoch_seconds)))),
        (
            "time in all, communication and evaluation aside",
            str(timedelta(seconds=round(time.seconds))),
        ),
        ("GPU hours, a GPU for each process", f"{time.gpu_hours:,.1f}"),
    ]


MACHINE, PLAN = "On this machine", "A plan"


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="The experiment: a TOML file, or the name of one that comes with addkit; with "
            "--resume also a run's folder.",
            autocompletion=complete_recipe,
        ),
    ],
    set_: SetOption = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: runs/NAME-TIME.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue from the last checkpoint of --run-dir, or of the newest run."
        ),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew; an old run in --run-dir is moved aside.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Write report.html into the run at its end."),
    ] = True,
    json: JsonOption = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_536,
            help="Training processes on this machine; default: the recipe's number, or one for "
            "each GPU. With --dry-run: on all machines.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Compute the same bits each time, at some cost on GPUs.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Write a profiler's trace of a few steps.", rich_help_panel=MACHINE
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything; print sizes, memory and communication; write nothing.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Take some steps at a rising learning rate; print and plot the losses and a "
            "suggestion; train nothing that stays.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    images_per_second: Annotated[
        float | None,
        typer.Option(
            min=1e-3,
            max=1e9,
            help="Speed of one process, for the estimate of time.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Measure that speed by a few steps on this machine.",
            rich_help_panel=PLAN,
        ),
    ] = False,
    mfu: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=100,
            metavar="PERCENT",
            help="Derive that speed from the operations of a step, at this share of --gpu's peak.",
            rich_help_panel=PLAN,
        ),
    ] = None,
    gpu: Annotated[
        str, typer.Option(metavar="NAME", help="GPU of --mfu.", rich_help_panel=PLAN)
    ] = "A100",
) -> None:
    """Train a recipe and its matched controls.

    \b
    addkit train digits --set training.epochs=5
    addkit train recipes/imagenet.toml --resume
    addkit train runs/digits-20261124-120000 --resume
    addkit train recipes/imagenet.toml --dry-run --processes 64
    """
    from addkit.errors import UsageError

    if resume and fresh:
        raise UsageError("--resume continues a run and --fresh starts anew; give one of them")
    if find_lr and (resume or fresh or dry_run or profile or run_dir or processes):
        raise UsageError("--find-lr trains nothing: give RECIPE, --set, --deterministic or --json")
    changes = [*(set_ or []), *(["distributed.deterministic=true"] if deterministic else [])]
    speeds = (images_per_second is not None, measure, mfu is not None)
    if not dry_run and any(speeds):
        raise UsageError("--images-per-second, --measure and --mfu estimate a plan; add --dry-run")
    if sum(speeds) > 1:
        raise UsageError("give one of --images-per-second, --measure and --mfu")
    # Read before torch is imported, so that an invalid recipe fails at once.
    read, folder = _resolve(recipe, changes, run_dir, resume=resume)
    from addkit.recipe.model import placed

    if dry_run:
        with placed(read):
            print_plan(
                read, processes, images_per_second, measure=measure, mfu=mfu, gpu=gpu, json=json
            )
        return
    if find_lr:
        from addkit.cli.find_lr import print_range_test

        with placed(read):
            print_range_test(read, json=json)
        return
    from addkit.cli.launch import start
    from addkit.cli.output import Output, warn
    from addkit.evaluation.results import never_predicted_line
    from addkit.training.location import RunLocation

    location = RunLocation(folder, resume=resume, fresh=fresh)
    with placed(read):
        result = start(read, location, processes, profile=profile)
    if result is None:
        return
    output = Output(json=json)
    if not json:
        _print_scores(output, result)
    page = _written_page(result.run.path) if report else None
    if json:
        output.data({**result.data(), "report": page and str(page)})
    else:
        line = f"{result.seconds:.0f} s, run {result.run.path}"
        output.line(f"{line}, report {page.name}" if page else line)
        if result.scores:
            output.hint(addkit_command("evaluate", "--run", result.run.path))
        steps = ("--steps", 20) if result.metric == "top1" else ()
        output.hint(addkit_command("sample", "--run", result.run.path, *steps, "IMAGE"))
    for model_name, names in result.never_predicted.items():
        warn(never_predicted_line(model_name, "test", names))


def _resolve(
    word: Path, changes: list[str], folder: Path | None, *, resume: bool
) -> tuple[Recipe, Path | None]:
    """The recipe and the folder of its run; with `resume`, `word` may be a run's own folder."""
    from addkit.cli.run_arguments import run_named
    from addkit.errors import UsageError
    from addkit.recipe import read_recipe, recipe_from_tables
    from addkit.runs import Run
    from addkit.runs.packs import is_pack

    run = run_named(word)
    if word.suffix == ".zip" or (run is not None and is_pack(run)):
        raise UsageError(f"{word}: a pack has no optimizer, so it cannot be trained further")
    if run is None:
        return read_recipe(word, changes), folder
    if not resume:
        raise UsageError(
            f"{run}: a run's folder; continue it: {addkit_command('train', run, '--resume')}; "
            f"train its recipe anew: {addkit_command('train', run / 'recipe.toml')}"
        )
    if folder is not None and folder.absolute() != run.absolute():
        raise UsageError(f"{run}: resumes in its own folder; leave out --run-dir {folder}")
    tables, source = Run.open(run).recipe_tables(), run / "recipe.toml"
    return recipe_from_tables(tables, source, overrides=changes), run


REPORTED = 500
"""Test images that the report at the end of a training predicts; `addkit report` takes more."""


def _written_page(run: Path) -> Path | None:
    """Write the run's page unless it has one; a page that fails is a warning, and None."""
    from addkit.cli.output import warn
    from addkit.errors import Stopped

    file = run / "report.html"
    if file.exists():
        return file
    try:
        # matplotlib takes half a second to import.
        from addkit.report.page import write_page
        from addkit.report.sections import RunReport

        write_page(file, RunReport.open(run, most=REPORTED))
    except Stopped:
        raise
    except Exception as error:
        # The training is over and stored, whatever a page of it runs into.
        warn(f"no report ({type(error).__name__}: {error}); try {addkit_command('report', run)}")
        return None
    return file


def _print_scores(output: Output, result: TrainResult) -> None:
    from addkit.evaluation.results import left_out, legend, present

    controls = ((f"control, {head}", scores) for head, scores in result.controls.items())
    models = [(result.model_name, result.scores), *controls]
    rows = [(name, *pair) for name, both in models for pair in both.items()]
    columns = present(scores for *_, scores in rows)
    if rows:
        output.table(
            ["test", "weights", *(score.short_heading for score in columns)],
            [
                (name, weights, *(score.text(scores.get(score.name)) for score in columns))
                for name, weights, scores in rows
            ],
            optional=left_out(columns),
        )
    else:
        output.line("no test split, so nothing was measured")
    if text := legend(columns):
        output.line(text)
    output.line()
    if result.scored_step != result.steps:
        output.line(f"best weights on the validation split: step {result.scored_step:,}")
