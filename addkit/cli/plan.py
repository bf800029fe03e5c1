"""`addkit train --dry-run`: what a training would be."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addkit.planning.dry_run import Communication, DryRun, TimeEstimate
    from addkit.recipe import Recipe


MIB = 2**20


def print_plan(
    recipe: Recipe,
    processes: int | None,
    images_per_second: float | None,
    *,
    measure: bool,
    json: bool,
) -> None:
    """Print sizes, memory, communication and time. Writes nothing."""
    from addkit.cli.output import Output
    from addkit.planning.dry_run import dry_run

    plan = dry_run(recipe, processes, images_per_second, measure=measure)
    output = Output(json=json)
    if json:
        output.data(plan.data())
        return
    rows = [*_sizes(plan), *_communication(plan.communication), *_time(plan.time)]
    rows += [
        *((f"images, {split}", f"{size:,}") for split, size in plan.splits.items()),
        ("classes", f"{plan.classes:,}"),
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
        ("steps per epoch x epochs", f"{plan.steps_per_epoch:,} x {run.epochs}"),
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
        return [("time", "add --images-per-second N, or --measure")]
    return [
        (f"images a second and process ({time.source})", f"{time.images_per_second:,.1f}"),
        ("time of a step", f"{time.step_seconds:,.3f} s"),
        ("time of an epoch", str(timedelta(seconds=round(time.epoch_seconds)))),
        (
            "time in all, communication and evaluation aside",
            str(timedelta(seconds=round(time.seconds))),
        ),
    ]
