"""`addkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import DataOption, JsonOption, WeightsOption, component_option

ANSWER = "Inference settings"


def export(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Run, checkpoint or pack; the newest finished run if absent.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ] = None,
    to: Annotated[
        Literal["onnx", "torch"], typer.Option(help="onnx, or torch for torch.export.")
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file; RUN.onnx or RUN.pt2 if absent."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="fp16: the encoder in half precision.")
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Denoising steps of a chain.", rich_help_panel=ANSWER),
    ] = None,
    sampler: Annotated[str | None, component_option("sampler", ANSWER)] = None,
    to_one: Annotated[str | None, component_option("to_one", ANSWER)] = None,
    read_out: Annotated[str | None, component_option("read_out", ANSWER)] = None,
    weights: WeightsOption = "ema",
    set_: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Write a run as one file for other programs, and compare its answers with addkit's.

    addkit export runs/digits-20261124-120000 -o digits.onnx
    """
    from dataclasses import asdict

    from addkit.cli.output import Output, note
    from addkit.cli.run_arguments import find_run
    from addkit.errors import RunError
    from addkit.export.run import ENDINGS, check_target, export_run
    from addkit.model import load
    from addkit.runs import Run
    from addkit.terminal import addkit_command

    path = find_run(run)
    # A checkpoint is named on purpose; a run's newest one may be any.
    if isinstance(path, Path) and (path / "checkpoints").is_dir() and not Run(path).finished:
        again = addkit_command("train", path, "--resume")
        raise RunError(
            f"{path}: its training has not finished; continue with `{again}`, or name a checkpoint "
            f"({path / 'checkpoints' / 'latest'})"
        )
    name = path.absolute().name if isinstance(path, Path) else path.partition("#")[0].split("/")[-1]
    file = Path(f"{name.removesuffix('.zip')}{ENDINGS[to]}") if output is None else output
    check_target(file, to, force=force)
    predictor = load(path, weights=weights)
    inference = predictor.inference.replace(
        steps=steps, sampler=sampler, to_one=to_one, read_out=read_out
    )
    if inference.early_exit:
        note("early exit is off in the file: a graph takes every step")
    exported = export_run(
        predictor, file, to=to, precision=precision, inference=inference, overrides=set_ or []
    )
    found = exported.comparison
    if exported.compared_on != "test":
        note(f"compared on made-up images, since {exported.compared_on}")
    if json:
        settings = asdict(exported.inference.settings)
        script = None if exported.script is None else str(exported.script)
        files = {"file": str(exported.file), "script": script}
        Output(json=True).data(
            {
                **files,
                "outputs": exported.outputs,
                "inference": settings,
                "precision": precision,
                "compared_on": exported.compared_on,
                **asdict(found),
            }
        )
        return
    result = Output()
    result.line(str(exported.file))
    if exported.script is not None:
        result.line(str(exported.script))
    result.line(
        f"{found.images} images: {found.other_answers} other answers, probabilities within "
        f"{found.difference:.1e}"
    )
    result.line(
        f"one image: addkit {found.addkit_ms:.2f} ms, the file {found.file_ms:.2f} ms "
        f"({found.file_ms / found.addkit_ms:.2f}x)"
    )
    if exported.script is not None:
        result.hint(f"python {exported.script} IMAGE")
