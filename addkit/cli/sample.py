"""`addkit sample`, and the images that its command line names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from addkit.cli.options import RunOption, SeedOption, WeightsOption, component_option
from addkit.cli.output import warn
from addkit.data.listing import Ignored, list_pictures
from addkit.data.names import NameFinder
from addkit.errors import DataError
from addkit.plugin.values import DataFacts
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.model import Inference, Predictor
    from addkit.plugin.protocols import Prediction


ImageFile = Path | BinaryIO


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a command line names, or that lies in a folder that it names."""

    name: str
    file: ImageFile | None = None
    """None if it cannot be read."""
    refused: str = ""
    """The sentence on why it cannot be read, which begins with the name; empty if it can."""

    @property
    def reason(self) -> str:
        """The sentence without the name."""
        return self.refused.removeprefix(f"{self.name}: ")


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """All named files, in order."""

    named: list[NamedFile]

    @property
    def images(self) -> list[tuple[str, ImageFile]]:
        """(name, file) of those that are not refused."""
        return [(each.name, each.file) for each in self.named if each.file is not None]

    @property
    def refused(self) -> list[str]:
        """A sentence for each of the others."""
        return [each.refused for each in self.named if each.file is None]


def find_images(words: list[str], ignored: Ignored) -> ImageFiles:
    """The images that the words name: files, folders of them, `-` for stdin.

    What is left out of a folder is named in `ignored`.
    """
    named: list[NamedFile] = []
    for word in words:
        if word == "-":
            # Read whole: a decoder must be able to seek.
            named.append(NamedFile("-", BytesIO(sys.stdin.buffer.read())))
        elif not word:
            # As a path it would be the working directory.
            refused = '"": an empty name; give a file or a folder'
            named.append(NamedFile("", refused=refused))
        else:
            # A word that cannot be read is refused with its reason, and the others are read.
            try:
                named += [NamedFile(str(file), file) for file in _below(Path(word), ignored)]
            except DataError as error:
                named.append(NamedFile(str(Path(word)), refused=str(error)))
            except OSError as error:
                refused = f"{word}: cannot be read ({error.strerror})"
                named.append(NamedFile(word, refused=refused))
        named += [NamedFile(text.partition(": ")[0], refused=text) for text in ignored.unreadable]
        ignored.unreadable.clear()
    return ImageFiles(named)


def _below(path: Path, ignored: Ignored) -> Iterator[Path]:
    """The file itself, or the images of a folder and its sub-folders, as they are found."""
    if not path.exists() and (near := NameFinder.below(Path()).same(str(path))):
        warn(f"{path}: does not exist; {near.name} is read, which differs in {near.differs}")
        path = Path(near.name)
    if path.is_file():
        yield path
        return
    if path.is_dir():
        images = map(Path, list_pictures(path, ignored))
        if (first := next(images, None)) is not None:
            yield first
            yield from images
            return
        if ignored.unreadable:
            return
        reason = "no image in this folder"
    elif path.exists():
        reason = "neither a file nor a folder; send a pipe to standard input, and give -"
    elif path.is_symlink():
        reason = "a link that leads nowhere"
    else:
        similar = NameFinder.below(Path()).similar(str(path))
        hint = f' (did you mean "{similar}"?)' if similar else ""
        reason = f"no such file or folder{hint}"
    raise DataError(f"{path}: {reason}")


def readable(files: ImageFiles, facts: DataFacts) -> ImageFiles:
    """The same files, with those refused that cannot be decoded to the encoder's input."""
    from addkit.data.images import prepare_image

    checked = []
    for each in files.named:
        if each.file is not None:
            try:
                prepare_image(rewind(each.file), facts)
            except DataError as error:
                each = NamedFile(each.name, refused=str(error))
            # A small file may decode to a huge picture.
            except MemoryError:
                refused = f"{each.name}: too large for this machine's memory"
                each = NamedFile(each.name, refused=refused)
        checked.append(each)
    return ImageFiles(checked)


def rewind(file: ImageFile) -> ImageFile:
    """The file, to be read from its start."""
    if not isinstance(file, Path):
        file.seek(0)
    return file


ANSWER, GIVEN, SHOW = "Inference settings", "Given labels and side inputs", "Output"


def sample(
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or - for standard input.")
    ],
    run: RunOption = None,
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
            help='Captions: given words, and _ for each free one: "a red _ on a _".',
            rich_help_panel=GIVEN,
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(min=1, help="Captions: how many tokens to write.", rich_help_panel=GIVEN),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Attributes: a given value. Repeatable.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    side_inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUE",
            help="Side input of all images, for a conditioner that reads it. Repeatable.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    weights: WeightsOption = "ema",
    seed: SeedOption = 0,
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
            help="Draw the answer of each step: PNG or SVG, for captions HTML.",
            rich_help_panel=SHOW,
        ),
    ] = None,
) -> None:
    """Classify or caption images with a trained run. Exit code 1 if some cannot be read.

    addkit sample --steps 20 --chains 8 photos/
    """
    from addkit.cli.output import Output, fail, note
    from addkit.cli.run_arguments import find_run
    from addkit.cli.sample import find_images
    from addkit.errors import DataError
    from addkit.model import load

    ignored = Ignored()
    arguments = find_images(images, ignored)
    if line := ignored.line():
        note(line)
    if not arguments.images:
        raise DataError("\n".join(arguments.refused))
    path = find_run(run)
    predictor = load(path, weights=weights)
    # Before the images are predicted, which takes longer than reading an ending.
    if trace is not None:
        _check_trace(predictor, trace)
    changes = {
        "steps": steps,
        "guidance": guidance,
        "chains": chains,
        "sampler": sampler,
        "to_one": to_one,
        "read_out": read_out,
    }
    labels = {} if template is None else {"template": template}
    labels |= {} if length is None else {"length": str(length)}
    labels |= _pairs("--given", given or [], "tone=dark")
    inputs = _pairs("--input", side_inputs or [], "age=7") or None
    arguments, predictions = _predict(
        predictor, arguments, **changes, given=labels, side_inputs=inputs, seed=seed, top=top
    )
    files = arguments.images
    if not files:
        raise DataError("\n".join(arguments.refused))
    for reason in arguments.refused:
        fail(reason, 1)
    output = Output(json=json, jsonl=jsonl)
    if output.for_people:
        # Cells and the line below are the prediction's own: see `addkit.tasks.predictions`.
        first, columns = predictions[0], predictor.task.columns
        # Without a chain there are no votes to print.
        headings = [each for each in columns if first.chain or not each.startswith("votes")]
        rows = [
            ("" if rank else name, *cells[: len(headings)])
            for (name, _), prediction in zip(files, predictions, strict=True)
            for rank, cells in enumerate(prediction.rows())
        ]
        output.table(["image", *headings], rows, words=len(columns) - 1)
        output.line()
        output.line(first.how_made(first.steps))
    else:
        # One object for each named file, in order; a refused file has no prediction.
        answers = iter(predictions)
        output.data(
            [
                {
                    "image": each.name,
                    **({"error": each.reason} if each.file is None else next(answers).data()),
                }
                for each in arguments.named
            ]
        )
    if trace is not None:
        given_labels = predictor.task.given_labels(labels) if labels else None
        inference = predictor.inference.replace(**changes, given=given_labels)
        _trace(predictor, files, inference, inputs, seed, trace)
    elif predictor.loops:
        ending = "html" if predictor.facts.num_tokens > 1 else "png"
        output.hint(addkit_command("sample", "--run", path, "--trace", f"trace.{ending}", "IMAGE"))
    if arguments.refused:
        raise typer.Exit(1)


def _predict(
    predictor: Predictor, arguments: ImageFiles, **settings: Any
) -> tuple[ImageFiles, list[Prediction]]:
    """Predictions of all files that can be read; the others are refused in the result."""
    from addkit.cli.sample import readable, rewind
    from addkit.errors import DataError

    def predict(files: list[tuple[str, Any]]) -> list[Prediction]:
        return predictor.predict([rewind(file) for _, file in files], **settings)

    # Files are tried one by one only if one of them fails, so that good ones are read once.
    try:
        return arguments, predict(arguments.images)
    except (DataError, MemoryError):
        rest = readable(arguments, predictor.facts)
        # No single file is at fault: the error is about all of them, such as a side input.
        if len(rest.images) == len(arguments.images):
            raise
        return rest, predict(rest.images) if rest.images else []


def _pairs(option: str, texts: list[str], example: str) -> dict[str, str]:
    from addkit.errors import UsageError

    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text}: write NAME=VALUE, such as {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def _check_trace(predictor: Predictor, path: Path) -> None:
    """One label is traced in a picture, several labels in a page."""
    from addkit.errors import UsageError
    from addkit.report import trace

    labels = predictor.facts.num_tokens
    fit, other = trace.ENDINGS, trace.PAGE_ENDINGS
    if labels > 1:
        fit, other = other, fit
    if path.suffix.lower() in other:
        what = "words and attributes" if labels > 1 else "single labels"
        raise UsageError(f"--trace {path}: {what} are traced in: {', '.join(fit)}")
    trace.check_target(path, fit)


def _trace(
    predictor: Predictor,
    files: list[tuple[str, ImageFile]],
    inference: Inference,
    side_inputs: dict[str, str] | None,
    seed: int,
    path: Path,
) -> None:
    from addkit.cli.output import note
    from addkit.cli.sample import rewind
    from addkit.report.trace import MOST_IMAGES, draw_caption_trace, draw_trace

    # A trace has the images of one batch.
    traced = files[: min(MOST_IMAGES, predictor.recipe.sampling.batch_size)]
    names = [name for name, _ in traced]
    # A stream is read twice: once as a picture to draw, once as the encoder's input.
    pictures = predictor.pictures([rewind(file) for _, file in traced])
    sources = [rewind(file) for _, file in traced]
    facts, classes = predictor.facts, predictor.class_names
    if facts.num_tokens > 1:
        # Only the first of many chains is drawn, and the logits of all would fill the memory.
        steps = predictor.trace(sources, inference.replace(chains=1), seed, side_inputs)
        tokenizer = predictor.inference.problem.tokenizer
        # Attributes are words by themselves; only captions are tokens to decode.
        decode = None
        if facts.pad is not None and tokenizer is not None:
            decode = tokenizer.restore(classes).decode
        draw_caption_trace(
            path, steps, pictures, names, classes, facts.pad, facts.token_names, decode
        )
    else:
        steps = predictor.trace(sources, inference, seed, side_inputs)
        schedule = predictor.network.diffusion.schedule
        draw_trace(path, steps, pictures, names, classes, schedule)
    left = f" (the first {len(traced)} images)" if len(files) > len(traced) else ""
    note(f"trace: {path}{left}")
