"""`addkit sample`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_run
from addkit.cli.options import component_option

if TYPE_CHECKING:
    from torch import Tensor

    from addkit.cli.image_arguments import Found
    from addkit.diffusion import ChainStep
    from addkit.model import Predictor
    from addkit.plugin.protocols import Prediction


ANSWER, KNOWN, SHOW = "How to answer", "What is known already", "What to show"


def sample(
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or - for standard input.")
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder or checkpoint; the newest finished run if absent.",
            autocompletion=complete_run,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Denoising steps of a chain; more is slower.", rich_help_panel=ANSWER
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="w in uncond + w (cond - uncond): 1 is off, above 1 is stronger.",
            rich_help_panel=ANSWER,
        ),
    ] = None,
    chains: Annotated[
        int | None,
        typer.Option(
            min=1, help="Chains for each image; their votes are shown.", rich_help_panel=ANSWER
        ),
    ] = None,
    to_one: Annotated[str | None, component_option("to_one", ANSWER)] = None,
    sampler: Annotated[str | None, component_option("sampler", ANSWER)] = None,
    read_out: Annotated[str | None, component_option("read_out", ANSWER)] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help='Captions: words that stay, and _ for each free one: "a red _ on a _".',
            rich_help_panel=KNOWN,
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(min=1, help="Captions: how many tokens to write.", rich_help_panel=KNOWN),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Attributes: a value that is known. Repeatable.",
            rich_help_panel=KNOWN,
        ),
    ] = None,
    side_inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUE",
            help="What the conditioner reads beside the images, for all of them. Repeatable.",
            rich_help_panel=KNOWN,
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="ema (averaged) or raw.", rich_help_panel=ANSWER)
    ] = "ema",
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.", rich_help_panel=ANSWER)] = 0,
    top: Annotated[
        int, typer.Option(min=1, help="Answers to show for each image.", rich_help_panel=SHOW)
    ] = 5,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON list.", rich_help_panel=SHOW)
    ] = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one JSON object a line.", rich_help_panel=SHOW)
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Show how each answer sharpens over the steps: PNG or SVG, for captions HTML.",
            rich_help_panel=SHOW,
        ),
    ] = None,
) -> None:
    """Classify or caption images with a trained run. Exit code 1 if some cannot be read.

    addkit sample --steps 20 --chains 8 photos/
    """
    from addkit.cli.image_arguments import find_images, find_run
    from addkit.cli.output import Output, fail
    from addkit.errors import DataError
    from addkit.model import load

    found = find_images(images)
    if not found.images:
        raise DataError("\n".join(found.refused))
    path = find_run(run)
    predictor = load(path, weights=weights)
    if trace is not None:
        _check_trace(predictor, trace)
    ask = {
        "steps": steps,
        "guidance": guidance,
        "chains": chains,
        "sampler": sampler,
        "to_one": to_one,
        "read_out": read_out,
    }
    wishes = _wishes(template, length, given or [])
    known = _pairs("--input", side_inputs or [], "age=7") or None
    asked = {**ask, "given": wishes, "side_inputs": known, "seed": seed, "top": top}
    found, told = _answers(predictor, found, asked)
    files = found.images
    if not files:
        raise DataError("\n".join(found.refused))
    for reason in found.refused:
        fail(reason, 1)
    output = Output(json=json, jsonl=jsonl)
    if output.for_people:
        _show(output, [name for name, _ in files], told, predictor, ask)
    else:
        answers = iter([_entry(one, predictor, ask) for one in told])
        output.data(_entries(found, answers))
    if trace is not None:
        _trace(predictor, files, ask, wishes, known, seed, trace)
    elif predictor.loops:
        ending = "html" if predictor.facts.num_tokens > 1 else "png"
        output.hint(f"addkit sample --run {quote(str(path))} --trace trace.{ending} IMAGE")
    if found.refused:
        raise typer.Exit(1)


def _entries(found: Found, answers: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """What programs get of each thing named: its answer, or why there is none."""
    return [
        {"image": one.name, **({"error": one.reason} if one.file is None else next(answers))}
        for one in found.named
    ]


def _answers(predictor: Predictor, found: Found, ask: dict[str, Any]) -> tuple[Found, list[Any]]:
    """What was found, with what cannot be read refused, and an answer for each other one.

    Files are looked at one by one only where one of them fails, so good ones are read once.
    """
    from addkit.cli.image_arguments import readable, rewind
    from addkit.errors import DataError

    def predict(files: list[tuple[str, Any]]) -> list[Any]:
        return predictor.predict([rewind(file) for _, file in files], **ask)

    try:
        return found, predict(found.images)
    except (DataError, MemoryError):
        rest = readable(found, predictor.facts)
        if len(rest.images) == len(found.images):
            raise
        return rest, predict(rest.images) if rest.images else []


def _wishes(template: str | None, length: int | None, given: list[str]) -> dict[str, str]:
    """What the user knows already, by name."""
    wishes = {} if template is None else {"template": template}
    if length is not None:
        wishes["length"] = str(length)
    return wishes | _pairs("--given", given, "tone=dark")


def _pairs(option: str, words: list[str], example: str) -> dict[str, str]:
    from addkit.errors import UsageError

    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{option} {word}: write NAME=VALUE, such as {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def _entry(prediction: Prediction, predictor: Predictor, ask: dict[str, Any]) -> dict[str, Any]:
    inference = predictor.inference.replace(**ask)
    return {
        **prediction.data(),
        "guidance": inference.guidance,
        "chains": inference.chains,
        "sampler": inference.sampler.name,
        "to_one": inference.to_one_name,
        "read_out": inference.read_out.name,
    }


def _show(
    output: Any,
    names: list[str],
    told: list[Prediction],
    predictor: Predictor,
    ask: dict[str, Any],
) -> None:
    """For people: rows for each image, and how the numbers came about."""
    inference = predictor.inference.replace(**ask)
    votes = ask["steps"] is not None or ask["chains"] is not None or not inference.one_pass
    columns = [c for c in predictor.task.columns if votes or not c.startswith("votes")]
    table = [
        ("" if rank else name, *cells[: len(columns)])
        for name, prediction in zip(names, told, strict=True)
        for rank, cells in enumerate(prediction.rows())
    ]
    output.table(["image", *columns], table, words=len(predictor.task.columns) - 1)
    output.line(_legend(inference, told[0].steps, votes))


def _legend(inference: Any, steps: int, votes: bool) -> str:
    chains = f"{inference.chains} chain{'s' if inference.chains > 1 else ''} of {steps} steps"
    loop = f"{chains} ({inference.sampler.name}, {inference.to_one_name}, w {inference.guidance:g})"
    if not inference.one_pass:
        return f"\nprobability: read-out {inference.read_out.name} of {loop}"
    first = f"\nprobability: read-out {inference.read_out.name}, one pass at t = T"
    return f"{first}; votes: {loop}" if votes else first


def _check_trace(predictor: Predictor, path: Path) -> None:
    """One label is traced in a picture, several labels in a page."""
    from addkit.errors import UsageError
    from addkit.report import caption_trace, trace

    labels = predictor.facts.num_tokens
    fit, other = trace.ENDINGS, caption_trace.ENDINGS
    if labels > 1:
        fit, other = other, fit
    if path.suffix.lower() in other:
        what = "words and attributes" if labels > 1 else "single labels"
        raise UsageError(f"--trace {path}: {what} are traced in: {', '.join(fit)}")
    trace.check_target(path, fit)


def _trace(
    predictor: Predictor,
    files: list[Any],
    ask: dict[str, Any],
    wishes: dict[str, str],
    known: dict[str, str] | None,
    seed: int,
    path: Path,
) -> None:
    from addkit.cli.image_arguments import rewind
    from addkit.cli.output import note
    from addkit.report.trace import MOST_IMAGES, draw_trace

    # A trace is of one batch.
    shown = files[: min(MOST_IMAGES, predictor.recipe.sampling.batch_size)]
    names = [name for name, _ in shown]
    pictures = predictor.pictures([rewind(file) for _, file in shown])
    held = predictor.task.given_labels(wishes) if wishes else None
    inference = predictor.inference.replace(**ask, given=held)
    sources = [rewind(file) for _, file in shown]
    if predictor.facts.num_tokens > 1:
        # Of many chains only the first is drawn, and their logits would fill the memory.
        steps = predictor.trace(sources, inference.replace(chains=1), seed, known)
        _draw_labels(path, predictor, steps, pictures, names)
    else:
        steps = predictor.trace(sources, inference, seed, known)
        schedule = predictor.network.diffusion.schedule
        draw_trace(path, steps, pictures, names, predictor.class_names, schedule)
    left = f" (the first {len(shown)} images)" if len(files) > len(shown) else ""
    note(f"trace: {path}{left}")


def _draw_labels(
    path: Path,
    predictor: Predictor,
    steps: list[ChainStep],
    pictures: Tensor,
    names: list[str],
) -> None:
    from addkit.report.caption_trace import draw_caption_trace

    facts, tokenizer = predictor.facts, predictor.inference.problem.tokenizer
    words, decode = predictor.class_names, None
    if facts.pad is not None and tokenizer is not None:
        decode = tokenizer.restore(words).decode
    draw_caption_trace(path, steps, pictures, names, words, facts.pad, facts.token_names, decode)
