"""`addkit data`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_key, complete_recipe

if TYPE_CHECKING:
    from addkit.data.shards.index import Shard


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
    out: Annotated[Path, typer.Argument(help="Folder of the shards, new or begun before.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Change the recipe; the value is TOML. May be repeated.",
            autocompletion=complete_key,
        ),
    ] = None,
    shard_size: Annotated[
        float, typer.Option(min=0.001, help="MB of images after which a shard is closed.")
    ] = 256,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Shards written at once.")] = 2,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Write nothing: check all that OUT holds by its checksums."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Put a recipe's images into tar shards, which are read in sequence.

    The tar files have webdataset's layout and hold the images as they are. A second run checks
    what is there and writes what is missing. Recipes read OUT in place of the folder.

    addkit data shard recipes/image-folder.toml OUT --set data.root=photos
    addkit train recipes/image-folder.toml --set data.root=OUT
    """
    if verify:
        _verify(recipe, set_ or [], out, round(shard_size * MB), jobs, json)
    else:
        _shard(recipe, set_ or [], out, round(shard_size * MB), jobs, json)


def _shard(
    file: Path, changes: Sequence[str], out: Path, shard_size: int, jobs: int, json: bool
) -> None:
    from addkit.cli.output import Output, note
    from addkit.data.shards.write import refuse_busy, write_shards
    from addkit.model import build_data
    from addkit.recipe import read_recipe

    refuse_busy(out)
    recipe = read_recipe(file, list(changes))

    def told(shard: Shard, before: bool) -> None:
        state = "there" if before else "written"
        note(f"{out / shard.name}: {state}, {shard.samples:,} images")

    written = write_shards(
        build_data(recipe),
        recipe.choices["data"].name,
        out,
        seed=recipe.seed,
        shard_size=shard_size,
        jobs=jobs,
        told=told,
    )
    output = Output(json=json)
    if json:
        total = len(written.shards)
        counts = {"written": total - written.kept, "kept": written.kept}
        output.data({"folder": str(out), **_sums(written.shards), **counts})
    else:
        _show(output, written.shards)
        output.hint(shlex.join(["addkit", "train", str(file), "--set", f"data.root={out}"]))


def _verify(
    file: Path, changes: Sequence[str], out: Path, shard_size: int, jobs: int, json: bool
) -> None:
    from dataclasses import asdict

    from addkit.cli.output import Output
    from addkit.data.shards.index import Index, verify_shards
    from addkit.errors import DataError

    shards, broken = verify_shards(out, jobs)
    output = Output(json=json)
    if json:
        found = [asdict(one) for one in broken]
        output.data({"folder": str(out), **_sums(shards), "broken": found})
    else:
        _show(output, shards)
        for one in broken:
            output.line(f"{one.file}: {one.problem}")
    if broken:
        files = "1 file is" if len(broken) == 1 else f"{len(broken)} files are"
        again = _command(file, changes, out, Index.read(out).shard_size or shard_size)
        raise DataError(f"{out}: {files} broken; to write what is broken again: {again}")


def _command(file: Path, changes: Sequence[str], out: Path, shard_size: int) -> str:
    """What writes these shards."""
    words = ["addkit", "data", "shard", str(file), str(out)]
    words += [word for change in changes for word in ("--set", change)]
    return shlex.join([*words, "--shard-size", f"{shard_size / MB:.10g}"])


def _sums(shards: Sequence[Shard]) -> dict[str, Any]:
    splits = list(dict.fromkeys(shard.split for shard in shards))
    parts = {split: [shard for shard in shards if shard.split == split] for split in splits}
    return {**_sum(shards), "splits": {split: _sum(part) for split, part in parts.items()}}


def _sum(shards: Sequence[Shard]) -> dict[str, int]:
    return {
        "shards": len(shards),
        "samples": sum(shard.samples for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
    }


def _show(output: Any, shards: Sequence[Shard]) -> None:
    rows = [
        (name, f"{one['shards']:,}", f"{one['samples']:,}", f"{one['bytes'] / MB:,.1f}")
        for name, one in _sums(shards)["splits"].items()
    ]
    output.table(["split", "shards", "images", "MB"], rows)
