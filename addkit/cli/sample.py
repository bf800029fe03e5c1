"""`addkit sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from addkit.model import Predictor
    from addkit.tasks.predictions import Prediction

__all__ = ["sample"]


def sample(
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or - for standard input.")
    ],
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder or checkpoint; the newest finished run if absent."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps of a chain; more is slower.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, help="w in uncond + w (cond - uncond): 1 is off, above 1 is stronger."),
    ] = None,
    chains: Annotated[
        int | None, typer.Option(min=1, help="Chains for each image; their votes are shown.")
    ] = None,
    to_one: Annotated[
        str | None, typer.Option(metavar="NAME", help="argmax, softmax, sample, or a plugin's.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="renoise, ddim, ancestral, gibbs, or a plugin's."),
    ] = None,
    read_out: Annotated[
        str | None, typer.Option(metavar="NAME", help="last, prior, mean, vote, or a plugin's.")
    ] = None,
    weights: Annotated[str, typer.Option(help="ema (averaged) or raw.")] = "ema",
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    top: Annotated[int, typer.Option(min=1, help="Classes to show for each image.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object a line.")] = False,
    trace: Annotated[
        Path | None,
        typer.Option(help="Draw how each image's distribution sharpens over the steps (PNG, SVG)."),
    ] = None,
) -> None:
    """Classify images with a trained run.

    addkit sample --steps 20 --chains 8 photos/
    """
    from addkit.cli.inputs import find_images, find_run
    from addkit.cli.output import Output
    from addkit.model import load

    if trace is not None:
        _check_trace(trace)
    files = find_images(images)
    predictor = load(find_run(run), weights=weights)
    ask = {
        "steps": steps,
        "guidance": guidance,
        "chains": chains,
        "sampler": sampler,
        "to_one": to_one,
        "read_out": read_out,
    }
    sources = [file for _, file in files]
    told = predictor.predict(sources, **ask, seed=seed, top=top)  # type: ignore[arg-type]
    rows = [
        _entry(name, prediction, predictor, ask)
        for (name, _), prediction in zip(files, told, strict=True)
    ]
    output = Output(json=json, jsonl=jsonl)
    if output.for_people:
        _show(output, rows, predictor, ask)
    else:
        output.data(rows)
    if trace is not None:
        _trace(predictor, files, ask, seed, trace)


def _entry(
    name: str, prediction: Prediction, predictor: Predictor, ask: dict[str, Any]
) -> dict[str, Any]:
    inference = predictor.inference.but(**ask)
    return {
        "image": name,
        "labels": [
            {"name": s.name, "probability": s.probability, "votes": s.votes}
            for s in prediction.labels
        ],
        "steps": prediction.steps,
        "guidance": inference.guidance,
        "chains": inference.chains,
        "sampler": inference.sampler.name,
        "to_one": inference.to_one_name,
        "read_out": inference.read_out.name,
    }


def _show(
    output: Any, rows: list[dict[str, Any]], predictor: Predictor, ask: dict[str, Any]
) -> None:
    """For people: a row for each image and class, and how the numbers came about."""
    inference = predictor.inference.but(**ask)
    votes = ask["steps"] is not None or ask["chains"] is not None or not inference.one_pass
    columns = ["image", "class", "probability %", *(["votes %"] if votes else [])]
    table = []
    for row in rows:
        for rank, label in enumerate(row["labels"]):
            cells = [
                "" if rank else row["image"],
                label["name"],
                f"{100 * label['probability']:.2f}",
            ]
            table.append([*cells, *([f"{100 * label['votes']:.0f}"] if votes else [])])
    output.table(columns, table)
    output.line(_legend(inference, rows[0]["steps"], votes))


def _legend(inference: Any, steps: int, votes: bool) -> str:
    chains = f"{inference.chains} chain{'s' if inference.chains > 1 else ''} of {steps} steps"
    loop = f"{chains} ({inference.sampler.name}, {inference.to_one_name}, w {inference.guidance:g})"
    if not inference.one_pass:
        return f"\nprobability: read-out {inference.read_out.name} of {loop}"
    first = f"\nprobability: read-out {inference.read_out.name}, one pass at t = T"
    return f"{first}; votes: {loop}" if votes else first


def _check_trace(path: Path) -> None:
    from addkit.report.trace import check_target

    check_target(path)


def _trace(
    predictor: Predictor, files: list[Any], ask: dict[str, Any], seed: int, path: Path
) -> None:
    from addkit.cli.inputs import rewind
    from addkit.cli.output import note
    from addkit.report.trace import MOST_IMAGES, draw_trace

    shown = files[:MOST_IMAGES]
    sources = [rewind(file) for _, file in shown]
    inference = predictor.inference.but(**ask)
    pictures = predictor.pictures(sources)
    steps = predictor.trace([rewind(file) for _, file in shown], inference, seed)
    names = [name for name, _ in shown]
    schedule = predictor.network.diffusion.schedule
    draw_trace(path, steps, pictures, names, predictor.class_names, schedule)
    left = f" (the first {MOST_IMAGES} images)" if len(files) > MOST_IMAGES else ""
    note(f"trace: {path}{left}")
