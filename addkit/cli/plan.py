"""`addkit train --dry-run`: what a training would be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addkit.recipe import Recipe


MIB = 2**20


def tell_plan(
    recipe: Recipe,
    processes: int | None,
    images_per_second: float | None,
    *,
    measure: bool,
    json: bool,
) -> None:
    """Print sizes, memory, traffic and time. Writes nothing."""
    from addkit.cli.output import Output
    from addkit.planning.dry_run import dry_run

    sizes = dry_run(recipe, processes, images_per_second, measure=measure)
    output = Output(json=json)
    if json:
        output.data(sizes)
        return
    rows = [*_sizes(sizes), *_memory(sizes), *_wire(sizes["wire"]), *_time(sizes["time"])]
    output.table(["", ""], [*rows, *_data(sizes)], title=f"{recipe.name}: dry run, nothing written")


def _sizes(sizes: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(f"parameters, {k}", f"{v:,}") for k, v in sizes["parameters"].items()]
    return [
        *rows,
        ("global batch", f"{sizes['global_batch']:,}"),
        (
            "  = images x processes x accumulation",
            f"{sizes['per_process_batch']} x {sizes['processes']} x {sizes['accumulation']}",
        ),
        ("steps per epoch x epochs", f"{sizes['steps_per_epoch']:,} x {sizes['epochs']}"),
        ("steps in all", f"{sizes['steps']:,} ({sizes['warmup_steps']:,} of them warm-up)"),
        ("peak learning rate", f"{sizes['learning_rate']:g} ({sizes['learning_rate_rule']})"),
    ]


def _memory(sizes: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts = sizes["memory"].items()
    return [
        (f"memory of a process, {k.replace('_', ' ')}", f"{v / MIB:,.1f} MiB") for k, v in parts
    ]


def _wire(wire: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not wire["total"]:
        return []
    parts = ("weights", "gradients", "total")
    return [
        *(
            (f"sent by a process in a step ({wire['strategy']}), {part}", _mib(wire[part]))
            for part in parts
        ),
        *(
            (f"  that takes, at {speed}", f"{1000 * seconds:,.1f} ms")
            for speed, seconds in wire["seconds"].items()
        ),
    ]


def _mib(size: float) -> str:
    return f"{size / MIB:,.1f} MiB"


def _time(time: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if time is None:
        return [("time", "say --images-per-second N, or --measure")]
    whole = timedelta(seconds=round(time["seconds"]))
    return [
        (f"images a second and process ({time['source']})", f"{time['images_per_second']:,.1f}"),
        ("time of a step", f"{time['step_seconds']:,.3f} s"),
        ("time of an epoch", str(timedelta(seconds=round(time["epoch_seconds"])))),
        ("time in all, the wire and evaluation aside", str(whole)),
    ]


def _data(sizes: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        *((f"images, {k}", f"{v:,}") for k, v in sizes["splits"].items()),
        ("classes", f"{sizes['classes']:,}"),
        ("tokens of an image", f"{sizes['tokens']}"),
        *((name.replace("_", " "), f"{count:,}") for name, count in sizes["notes"].items()),
        *(("will read", file) for file in sizes["files"]),
    ]
