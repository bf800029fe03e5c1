"""`addkit push`."""

from __future__ import annotations

from typing import Annotated

import typer

from addkit.cli.options import JsonOption, WeightsOption
from addkit.cli.pack import LicenceOption, RunArgument
from addkit.terminal import addkit_command


def push(
    run: RunArgument,
    repository: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="Repository; made if it is missing.")
    ],
    weights: WeightsOption = "ema",
    license: LicenceOption = "unknown",
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository a private one.")
    ] = False,
    token: Annotated[
        str | None, typer.Option(help="Token of the hub; HF_TOKEN or `hf auth login` if absent.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Upload a pack to the Hugging Face Hub, which shows its model card.

    addkit push runs/digits-20261124-120000 org/digits
    """
    from dataclasses import asdict

    from addkit import packs
    from addkit.cli.output import Output
    from addkit.cli.run_arguments import find_folder, quiet_hub

    quiet_hub()
    pushed = packs.push(
        find_folder(run), repository, weights=weights, license=license, private=private, token=token
    )
    out = Output(json=json)
    if json:
        out.data(asdict(pushed))
        return
    out.line(pushed.url)
    out.line(pushed.name)
    out.hint(addkit_command("sample", "--run", pushed.name, "IMAGE"))
