"""`addkit data`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addkit.cli.completion import complete_recipe
from addkit.cli.options import JsonOption, SetOption
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.cli.output import Output
    from addkit.data.shards.index import Shard


# Decimal, as disks and webdataset count.
MB = 1e6

data = typer.Typer(help="Prepare data sets.", rich_markup_mode=None, no_args_is_help=True)


@data.callback()
def root() -> None:
    """Prepare data sets."""


@data.command()
def shard(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="The recipe that reads the images: its name, or a TOML file.",
            autocompletion=complete_recipe,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the shards, new or unfinished.")],
    set_: SetOption = None,
    shard_size: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="MB of images after which a shard is closed.")
    ] = 256,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Shards written at once.")] = 2,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Write nothing: check the files of OUT by their checksums."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Pack a recipe's images into tar shards, which are read in sequence.

    The tar files have webdataset's layout and contain the images as they are. A second run checks
    what exists and writes what is missing. Recipes read OUT in place of the folder.

    addkit data shard recipes/image-folder.toml OUT --set data.root=photos
    addkit train recipes/image-folder.toml --set data.root=OUT
    """
    from addkit.cli.output import Output

    size = round(shard_size * MB)
    output = Output(json=json)
    if verify:
        _verify(output, recipe, set_ or [], out, size, jobs)
    else:
        _write(output, recipe, set_ or [], out, size, jobs)


def _write(
    output: Output, file: Path, changes: Sequence[str], out: Path, size: int, jobs: int
) -> None:
    from addkit.cli.output import note
    from addkit.data.overview import check_data
    from addkit.data.shards.write import refuse_busy, write_shards
    from addkit.model import build_data
    from addkit.recipe import read_recipe

    # Before the recipe's data are read, which may take minutes.
    refuse_busy(out)
    recipe = read_recipe(file, list(changes))

    def report(shard: Shard, existed: bool) -> None:
        state = "exists" if existed else "written"
        note(f"{out / shard.name}: {state}, {shard.samples:,} images")

    source = build_data(recipe)
    for heading, text in check_data(source).rows():
        note(f"{heading}: {text}")
    written = write_shards(
        source,
        recipe.choices["data"].name,
        out,
        seed=recipe.seed,
        shard_size=size,
        jobs=jobs,
        report=report,
    )
    if output.json:
        total = len(written.shards)
        counts = {"written": total - written.kept, "kept": written.kept}
        output.data({"folder": str(out), **_totals(written.shards), **counts})
    else:
        _show(output, written.shards)
        output.hint(addkit_command("train", file, "--set", f"data.root={out}"))


def _verify(
    output: Output, file: Path, changes: Sequence[str], out: Path, size: int, jobs: int
) -> None:
    from dataclasses import asdict

    from addkit.data.shards.index import Index, verify_shards
    from addkit.errors import DataError

    shards, broken = verify_shards(out, jobs)
    if output.json:
        faults = [asdict(fault) for fault in broken]
        output.data({"folder": str(out), **_totals(shards), "broken": faults})
    else:
        _show(output, shards)
        for fault in broken:
            output.line(f"{fault.file}: {fault.problem}")
    if broken:
        files = "1 file is" if len(broken) == 1 else f"{len(broken)} files are"
        # The command that writes these shards: with their size rather than the default's.
        size = Index.read(out).shard_size or size
        words = [word for change in changes for word in ("--set", change)]
        words += ["--shard-size", f"{size / MB:.10g}"]
        again = addkit_command("data", "shard", file, out, *words)
        raise DataError(f"{out}: {files} broken; to write what is broken again: {again}")


def _totals(shards: Sequence[Shard]) -> dict[str, object]:
    """Counts of all shards and of each split's, for JSON."""
    # A dict for its order, that of the index.
    splits = dict.fromkeys(shard.split for shard in shards)
    parts = {split: [shard for shard in shards if shard.split == split] for split in splits}
    return {**_total(shards), "splits": {split: _total(part) for split, part in parts.items()}}


def _total(shards: Sequence[Shard]) -> dict[str, int]:
    return {
        "shards": len(shards),
        "samples": sum(shard.samples for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
    }


def _show(output: Output, shards: Sequence[Shard]) -> None:
    rows = []
    for split in dict.fromkeys(shard.split for shard in shards):
        total = _total([shard for shard in shards if shard.split == split])
        size = f"{total['bytes'] / MB:,.1f}"
        rows.append((split, f"{total['shards']:,}", f"{total['samples']:,}", size))
    output.table(["split", "shards", "images", "MB"], rows)
