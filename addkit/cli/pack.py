"""`addkit pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import JsonOption, WeightsOption
from addkit.terminal import addkit_command

RunArgument = Annotated[str, typer.Argument(help="Run or checkpoint.", autocompletion=complete_run)]
LicenceOption = Annotated[
    str, typer.Option(help="Licence of the weights for the model card, such as apache-2.0.")
]


def pack(
    run: RunArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File of the pack; RUN.zip here if absent."),
    ] = None,
    weights: WeightsOption = "ema",
    license: LicenceOption = "unknown",
    json: JsonOption = False,
) -> None:
    """Write a trained model as one file, with a model card.

    addkit pack runs/digits-20261124-120000 -o digits.zip
    """
    from dataclasses import asdict

    from addkit import packs
    from addkit.cli.output import Output
    from addkit.cli.run_arguments import find_folder
    from addkit.runs.disk import format_bytes

    folder = find_folder(run)
    file = output or Path(f"{folder.absolute().name}.zip")
    packed = packs.pack(folder, file, weights=weights, license=license)
    out = Output(json=json)
    if json:
        out.data({**asdict(packed), "file": str(file)})
        return
    out.line(str(file))
    out.line(f"{format_bytes(packed.size)}, {packed.weights} weights, sha256 {packed.sha256}")
    for plugin in packed.plugins:
        out.line(f"needs the plugin {plugin}")
    out.hint(addkit_command("sample", "--run", file, "IMAGE"))
