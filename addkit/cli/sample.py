"""`addkit sample`, and the images that its command line names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from io import BytesIO
from itertools import chain, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeAlias

import typer

from addkit.cli.options import RunOption, SeedOption, WeightsOption, component_option
from addkit.cli.output import warn
from addkit.data.listing import Ignored, list_pictures
from addkit.data.names import NameFinder
from addkit.data.web import Url, scheme_of
from addkit.errors import AddkitError, DataError
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from torch import Tensor

    from addkit.cli.output import Output
    from addkit.model import Inference, Predictor
    from addkit.plugin.protocols import Prediction


ImageFile = Path | BinaryIO | Url

NamedFile: TypeAlias = "tuple[str, ImageFile | DataError]"
"""A file's name, and the file or the reason why there is none to read."""
Answered: TypeAlias = "tuple[NamedFile, Prediction | AddkitError]"
"""A file, and its prediction or the reason why there is none."""

LISTED = 256
"""Files that are listed before the first is read, so that the table's first column fits them."""
TRACED = 8
"""Images that a trace shows at most."""


class _StandardInput(BytesIO):
    """Standard input under its name in errors."""

    name = "standard input"


def find_images(words: Iterable[str], ignored: Ignored) -> Iterator[NamedFile]:
    """The images that the words name, in order: files, folders of them, URLs, `-` for stdin.

    Folders are listed as the images are asked for. What is left out is named in `ignored`.
    """
    for word in words:
        if word == "-":
            # Read whole: a decoder must be able to seek.
            yield "-", _StandardInput(sys.stdin.buffer.read())
        elif scheme_of(word) in ("http", "https"):
            yield word, Url(word)
        elif not word:
            # As a path it would be the working directory.
            yield "", DataError('"": an empty name; give a file or a folder')
        else:
            # A word that cannot be read is refused with its reason, and the others are read.
            try:
                yield from ((str(file), file) for file in _below(Path(word), ignored))
            except DataError as error:
                yield str(Path(word)), error
            except OSError as error:
                yield word, DataError(f"{word}: cannot be read ({error.strerror})")
        yield from ((text.partition(": ")[0], DataError(text)) for text in ignored.unreadable)
        ignored.unreadable.clear()


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


def rewind(file: ImageFile) -> ImageFile:
    """The file, to be read from its start."""
    if not isinstance(file, Path | Url):
        file.seek(0)
    return file


SOFT = "tone=dark:0.8"
ANSWER, GIVEN, SHOW = "Inference settings", "Given labels and side inputs", "Output"


def sample(
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders of them, URLs, or - for standard input."),
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
            help='Attributes: a given value; tags: dog, or "no dog". Repeatable.',
            rich_help_panel=GIVEN,
        ),
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE:P",
            help="A value's probability by other evidence alone; tags: dog:0.8. Repeatable.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    votes: Annotated[
        Path | None,
        typer.Option(
            help="Attributes: annotators' votes, a CSV with image, annotator and attributes.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    annotators: Annotated[
        Path | None,
        typer.Option(
            help="A CSV of their accuracies or confusions; else estimated from the votes.",
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
    from addkit.cli.output import Output
    from addkit.cli.run_arguments import find_run
    from addkit.errors import UsageError
    from addkit.model import load

    path = find_run(run)
    ignored = Ignored()
    files = find_images(images, ignored)
    listed = list(islice(files, LISTED))
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
    # A bare name is a tag that is present; the task refuses it where it needs a value.
    for text in given or []:
        name, _, value = text.partition("=")
        labels[name.strip()] = value.strip()
    observed = _probabilities(evidence or [])
    if annotators is not None and votes is None:
        raise UsageError("--annotators gives the error rates of --votes; give both")
    if (observed or votes) and trace is not None:
        raise UsageError("--trace draws a chain's steps, and soft evidence is answered without one")
    inputs = _pairs("--input", side_inputs or [], "age=7") or None
    printer = _Printer(Output(json=json, jsonl=jsonl))
    errors: list[Answered] = [(each, each[1]) for each in listed if isinstance(each[1], DataError)]
    # Where no name leads to a file, the errors need no model.
    if len(errors) == len(listed):
        _note_ignored(ignored)
        printer.print([errors])
        raise typer.Exit(1)
    predictor = load(path, weights=weights)
    # Before the images are predicted, which takes longer than reading an ending.
    if trace is not None:
        _check_trace(predictor, trace)
    settings: dict[str, Any] = {
        **changes,
        "given": labels,
        "evidence": observed or None,
        "side_inputs": inputs,
        "seed": seed,
        "top": top,
    }
    named: Iterator[NamedFile] = chain(listed, files)
    if votes is not None:
        named, again = tee(named)
        settings["evidence"] = _with_votes(predictor, votes, annotators, observed, again)
    answers = _answers(predictor, named, settings)
    width = max(len(name) for name, _ in listed)
    printer.print(answers, predictor.task.columns, (width, max(map(len, predictor.class_names))))
    # The listing ends with the answers.
    _note_ignored(ignored)
    if trace is not None and printer.answered:
        given_labels = predictor.task.given_labels(labels) if labels else None
        inference = predictor.inference.replace(**changes, given=given_labels)
        _trace(predictor, printer, inference, inputs, seed, trace)
    elif predictor.loops and printer.answered:
        ending = "html" if predictor.facts.num_tokens > 1 else "png"
        command = addkit_command("sample", "--run", path, "--trace", f"trace.{ending}", "IMAGE")
        printer.output.hint(command)
    if printer.refused:
        raise typer.Exit(1)


def _answers(
    predictor: Predictor, files: Iterable[NamedFile], settings: Mapping[str, Any]
) -> Iterator[list[Answered]]:
    """The answers of files in order, batch by batch."""
    named, sources = tee(files)
    with closing(predictor.stream((file for _, file in sources), **settings)) as batches:
        for answers in batches:
            yield list(zip(islice(named, len(answers)), answers, strict=True))


def _note_ignored(ignored: Ignored) -> None:
    from addkit.cli.output import note

    if line := ignored.line():
        note(line)


class _Printer:
    """Prints answers as they come: a table for people, a list for programs, errors in between."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.answered = 0
        self.traced: list[NamedFile] = []
        """The first files that were answered, as many as a trace shows."""
        self.refused = False
        """True if some file could not be read."""

    def print(
        self,
        batches: Iterable[list[Answered]],
        columns: Sequence[str] = (),
        widths: Sequence[int] = (),
    ) -> None:
        """Print the answers, and for people how they were made.

        Args:
            batches: of answers.
            columns: those of the task.
            widths: the least widths of the table's first columns.
        """
        from addkit.cli.output import TableInParts, fail

        table, made = None, ""
        with self.output.items() as add:
            for batch in batches:
                rows: list[tuple[str, ...]] = []
                for (name, file), answer in batch:
                    if isinstance(answer, AddkitError):
                        # In order, where rows and errors are printed to one terminal.
                        if table is not None:
                            table.add(rows)
                        rows, self.refused = [], True
                        fail(str(answer), 1)
                        if not self.output.for_people:
                            add({"image": name, "error": str(answer).removeprefix(f"{name}: ")})
                        continue
                    self.answered += 1
                    if len(self.traced) < TRACED:
                        self.traced.append((name, file))
                    if not self.output.for_people:
                        add({"image": name, **answer.data()})
                        continue
                    # Cells and the last line are the prediction's own: `addkit.tasks.predictions`.
                    if table is None:
                        # Without a chain there are no votes to print.
                        shown = [e for e in columns if answer.chain or not e.startswith("votes")]
                        table = TableInParts(["image", *shown], None, len(columns) - 1, widths)
                        made = answer.how_made(answer.steps)
                    rows += (
                        ("" if rank else name, *cells[: len(shown)])
                        for rank, cells in enumerate(answer.rows())
                    )
                if table is not None:
                    table.add(rows)
        if table is not None:
            self.output.line()
            self.output.line(made)


def _pairs(option: str, texts: list[str], example: str) -> dict[str, str]:
    from addkit.errors import UsageError

    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text}: write NAME=VALUE, such as {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def _probabilities(texts: list[str]) -> dict[str, dict[str, float]]:
    """Attribute -> value -> probability of `NAME=VALUE:P` options; a bare tag has the value ""."""
    from addkit.errors import UsageError

    evidence: dict[str, dict[str, float]] = {}
    for each in texts:
        # A value's own name may have a colon.
        label, _, number = each.rpartition(":")
        name, equals, value = (part.strip() for part in label.partition("="))
        try:
            probability = float(number)
        except ValueError:
            name = ""
        if not name or (equals and not value):
            raise UsageError(
                f"--evidence {each}: write NAME=VALUE:P, such as {SOFT}, or of a tag dog:0.8"
            )
        evidence.setdefault(name, {})[value] = probability
    return evidence


def _with_votes(
    predictor: Predictor,
    votes: Path,
    annotators: Path | None,
    observed: Mapping[str, Mapping[str, float]],
    files: Iterable[NamedFile],
) -> Iterator[Tensor]:
    """Each file's evidence (N, K): that of `--evidence`, and of the votes on it."""
    from addkit.data.votes import (
        estimated_confusions,
        evidence_of,
        of_image,
        read_confusions,
        read_votes,
    )
    from addkit.tasks.evidence import soft_evidence

    problem = predictor.inference.problem
    listed = read_votes(votes, problem)
    if annotators is None:
        confusions = estimated_confusions(listed, problem)
    else:
        confusions = read_confusions(annotators, problem)
    evidence, shared = evidence_of(listed, confusions, problem), soft_evidence(problem, observed)
    # A generator below: the errors above are raised at the call.
    rows = ((of_image(evidence, name), shared) for name, _ in files)
    return (base if own is None else own + base for own, base in rows)


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
    printer: _Printer,
    inference: Inference,
    side_inputs: dict[str, str] | None,
    seed: int,
    path: Path,
) -> None:
    from addkit.cli.output import note
    from addkit.report.trace import draw_caption_trace, draw_trace

    # A trace has the images of one batch.
    names, files = zip(*printer.traced[: predictor.recipe.sampling.batch_size], strict=True)
    # A stream is read again: once as a picture to draw, once as the encoder's input.
    pictures = predictor.pictures([rewind(file) for file in files])
    sources = [rewind(file) for file in files]
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
    left = f" (the first {len(files)} images)" if printer.answered > len(files) else ""
    note(f"trace: {path}{left}")
