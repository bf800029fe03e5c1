"""A trained model that answers for images: `load` and `Predictor`."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from addkit.data.images import Pixels, Unread, levels_of, read_ahead
from addkit.data.pictures import Pictures, pictures_in, source_of
from addkit.data.shown import ShownPicture
from addkit.data.side_inputs import encoded
from addkit.diffusion import Answer, ChainStep, counted_generator
from addkit.errors import (
    AddkitError,
    AddkitWarning,
    DataError,
    RunError,
    UsageError,
    guess,
    require_type,
)
from addkit.model.build import build_network, build_task, problem_of
from addkit.model.evidence import Evidence, EvidenceRows
from addkit.model.inference import Arguments, Inference
from addkit.model.network import Network
from addkit.plugin.protocols import Task
from addkit.plugin.values import NO_CATEGORY, Clean, Column, DataFacts, SideInputs
from addkit.read_outs.by_token import Last
from addkit.recipe import Recipe
from addkit.recipe.validation import check_arguments
from addkit.runs import Run
from addkit.runs.atomic import CHECKSUMS
from addkit.runs.checkpoint import load_tensors
from addkit.runs.checkpoint_files import (
    checkpoint_of,
    checkpoints_in,
    fault_of,
    path_of,
    pointed_at,
    step_of,
)
from addkit.runs.opening import opened
from addkit.runs.packs import WEIGHTS as WEIGHTS_FILE
from addkit.runs.packs import check_facts, is_pack, located, pack_manifest
from addkit.tasks.predictions import Made, TracedStep
from addkit.tasks.tags import Tags
from addkit.terminal import addkit_command, quoted

Known: TypeAlias = "Mapping[str, str | Tensor | tuple[str, ...]]"
"""Values by column: a text that counts for all images, or one row for each image."""


class SideInputRows:
    """Splits side inputs into batches, in the order of the images. Raises `UsageError` for an
    unknown column or value.

    Args:
        columns: those of the run's data.
        values: by column; a text is encoded as the data set does it.
    """

    def __init__(self, columns: Sequence[Column], values: Known) -> None:
        by_name = {column.name: column for column in columns}
        self._shared: SideInputs = {}
        self._rows: dict[str, Tensor | tuple[str, ...]] = {}
        self._start = 0
        for name, value in values.items():
            if name not in by_name:
                raise UsageError(
                    f'no column "{name}"{guess(name, by_name)}; this run reads: '
                    f"{', '.join(by_name)}"
                )
            if not isinstance(value, str):
                self._rows[name] = _checked_rows(by_name[name], value)
                continue
            try:
                # One row; `take` repeats it.
                self._shared = {**self._shared, name: encoded(by_name[name], [value])}
            except DataError as error:
                # A wrong value in a file is a DataError; here a user has typed it.
                raise UsageError(str(error)) from None

    def end(self) -> None:
        """Raise `UsageError` if a column has rows for more images than there were."""
        for name, rows in self._rows.items():
            if len(rows) > self._start:
                raise UsageError(
                    f'side_inputs: "{name}" has {len(rows)} rows for {self._start} images'
                )

    def take(self, count: int) -> SideInputs:
        """Rows of the next `count` images; `UsageError` if a column has fewer."""
        batch: dict[str, Tensor | tuple[str, ...]] = {}
        for name, rows in self._rows.items():
            batch[name] = rows[self._start : self._start + count]
            if len(batch[name]) < count:
                raise UsageError(f'side inputs: "{name}" has {len(rows)} rows, too few')
        for name, row in self._shared.items():
            # `expand` copies nothing; a tuple of references costs next to nothing either.
            batch[name] = row.expand(count) if isinstance(row, Tensor) else row * count
        self._start += count
        return batch


def _checked_rows(column: Column, rows: Tensor | tuple[str, ...]) -> Tensor | tuple[str, ...]:
    """One row for each image, of the type and in the range of the column."""
    argument = f'side_inputs["{column.name}"]'
    if column.kind == "text":
        require_type(argument, rows, tuple)
        for row in rows:
            require_type(argument, row, str)
        return rows
    require_type(argument, rows, Tensor)
    assert isinstance(rows, Tensor)
    kind = torch.float32 if column.kind == "number" else torch.int64
    if rows.dtype != kind or rows.ndim != 1 or rows.is_meta or rows.isinf().any():
        raise UsageError(
            f"{argument} must be finite or NaN, {kind}, of shape (B,), found {rows.dtype} of shape "
            f"{tuple(rows.shape)}"
        )
    if column.kind != "number" and not all(
        NO_CATEGORY <= row < len(column.categories) for row in rows.tolist()
    ):
        raise UsageError(f"{argument}: ids go from {NO_CATEGORY} to {len(column.categories) - 1}")
    return rows


WEIGHTS = ("ema", "raw")
READ_AHEAD = 64
"""Pictures that are read ahead of the network."""
SHOWN = 32
"""Pictures without a path that the predictions of one call keep, as the network has read them."""
_PLAIN = {int, float, str, type(None)}  # types whose values compare to a bool
WITH_WEIGHTS = ("encoder", "conditioner")
"""Kinds whose settings may name a file of first weights."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What one call of `predict` asks for, checked."""

    inference: Inference
    votes: bool
    """Chains run in addition to a read-out of one pass."""
    side_inputs: SideInputRows | None
    evidence: EvidenceRows | None
    seed: int
    top: int
    trace: bool


class _Batch(NamedTuple):
    """Pictures that the network reads together."""

    images: Tensor
    """(B, channels, size, size), prepared."""
    errors: Sequence[AddkitError | None]
    """One for each picture in order; None for the B that could be read."""
    shown: Sequence[ShownPicture | None]
    """One for each of the B; None for those that are not kept."""


class Predictor:
    """Predicts labels of images with a trained network, by default as its recipe describes.

    Args:
        network: with trained weights.
        recipe: the one it was trained by.
        facts: of the data it was trained on.
        steps: of a chain, chosen after training where `sampling.steps` is auto.
        weights: those of the network, `ema` or `raw`.
        step: of the checkpoint that they come from; None: of none.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        facts: DataFacts,
        steps: int | None = None,
        weights: str = "raw",
        step: int | None = None,
    ) -> None:
        require_type("network", network, Network)
        require_type("recipe", recipe, Recipe)
        require_type("facts", facts, DataFacts)
        self.network = network.eval()
        self.recipe, self.weights, self.step = recipe, weights, step
        self.facts = facts
        self._pixels = Pixels.of(facts)
        problem = problem_of(recipe, facts)
        self.task: Task = build_task(recipe, problem)
        self.inference = Inference.of(recipe, problem, steps)
        # By what `predict` was asked for: each keeps the components that it has built.
        self._inferences: dict[tuple[str | float | None, ...], Inference] = {}
        # What the last call asked for, with its seed and `top`.
        self._checked: tuple[str | float | None, ...] = ()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        # A parameter that every network has, whatever its components.
        return self.network.diffusion.null_token.device

    @property
    def loops(self) -> bool:
        """True if chains iterate on a noisy state; plain decoders do not."""
        return "shared-time" in self.inference.process.spec.accepts  # type: ignore[attr-defined]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes; numbers where the data has none."""
        return self.facts.class_names or tuple(map(str, range(self.facts.num_classes)))

    def pictures(self, images: Pictures) -> Tensor:
        """The images as the network reads them, scaled back to [0, 1] for display."""
        if not (batches := [_all_read(batch) for batch in self._batches(images)]):
            raise UsageError("images: none given")
        # (channels, 1, 1) each.
        mean, std = (torch.tensor(x)[:, None, None] for x in (self.facts.mean, self.facts.std))
        return torch.cat(batches) * std + mean

    def predict(
        self,
        images: Pictures,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        chains: int | None = None,
        sampler: str | None = None,
        to_one: str | None = None,
        read_out: str | None = None,
        early_exit: int | None = None,
        given: Mapping[str, str] | None = None,
        evidence: Evidence | None = None,
        side_inputs: Known | None = None,
        seed: int = 0,
        top: int = 5,
        trace: bool = False,
    ) -> Any:
        """Return a `Prediction` for a picture, and a list of them for a list of pictures.

        An iterable without a length, such as a generator, gives an iterator that reads ahead and
        answers in batches of `sampling.batch_size`, in memory that does not grow. Its answers equal
        those of a list.

        Args:
            images: a picture, or an iterable of pictures: each a path, an http or https URL, the
                bytes of an image file, an open binary file, a PIL image, an array (H, W) or
                (H, W, C), or a tensor (C, H, W), both uint8 with C = 1, 3 or 4. Arrays and tensors
                of four dimensions are several. A float32 tensor (B, channels, size, size) is read
                as B images that are prepared as by the data set.
            steps: of a chain, at least 1. A read-out of one pass needs no chain; with steps or
                chains given, chains run as well, and the votes are theirs. As for all that follow,
                None takes the recipe's setting.
            guidance: w in uncond + w (cond - uncond); 1 is off.
            chains: sampling trajectories for each image.
            sampler: name of the component.
            to_one: name of the component.
            read_out: name of the component.
            early_exit: stop an image once its answer has not changed for this many steps; 0
                disables.
            given: labels that the user gives: a caption's `template` (`a red _`) or `length`, or
                attributes' values by name.
            evidence: soft evidence on attributes, by name, value and probability, such as
                `{"tone": {"dark": 0.8, "medium": 0.2}}`, of all images; one such mapping for each
                image; or log-likelihoods (N, K) or (B, N, K). Each process takes it in with a
                sampler of its own unless `sampler` names one (docs/evidence.md).
            side_inputs: values by column, for conditioners that read side inputs: a text for all
                images, or one row for each as in a `Batch`. Other columns count as missing.
            seed: of the noise, which is counted by batch. The same seed and images give the same
                answer.
            top: number of answers in each prediction.
            trace: keep what the network predicts at each step of the first chain, as
                `prediction.trace`, which notebooks show.

        Raises:
            DataError: a picture cannot be read or downloaded; names it. An iterator raises it after
                the answers of the pictures before.
            UsageError: a value of another type, shape or dtype, a number out of range, an unknown
                component, column or category, or evidence that the network was not trained to read.
        """
        request = self._request(
            steps=steps,
            guidance=guidance,
            chains=chains,
            sampler=sampler,
            to_one=to_one,
            read_out=read_out,
            early_exit=early_exit,
            given=given,
            evidence=evidence,
            side_inputs=side_inputs,
            seed=seed,
            top=top,
            trace=trace,
        )
        prepared = isinstance(images, Tensor) and images.dtype != torch.uint8
        if not prepared and pictures_in(images) is None:
            ((answer,),) = self._answers(images, request)
            return answer
        predictions = _or_raise(self._answers(images, request))
        return list(predictions) if isinstance(images, Sized) else predictions

    def stream(
        self, images: Iterable[Any], **settings: Any
    ) -> Generator[list[Any | AddkitError], None, None]:
        """Yield answers in batches of 1, 2, 4, ... pictures, so that the first comes soon.

        In place of the answer of a picture that cannot be read there is its error.

        Args:
            images: pictures as `predict` takes them, or errors of pictures, which are passed on.
            settings: arguments of `predict`.
        """
        return self._answers(images, self._request(**settings), growing=True)

    def _request(
        self,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        chains: int | None = None,
        sampler: str | None = None,
        to_one: str | None = None,
        read_out: str | None = None,
        early_exit: int | None = None,
        given: Mapping[str, str] | None = None,
        evidence: Evidence | None = None,
        side_inputs: Known | None = None,
        seed: int = 0,
        top: int = 5,
        trace: bool = False,
    ) -> _Request:
        """The checked arguments of `predict`."""
        require_type("trace", trace, bool)
        asked = (steps, guidance, chains, early_exit, sampler, to_one, read_out)
        key = (*asked, seed, top)
        # The same call again, of a loop over images, needs no other check.
        if not {*map(type, key)} <= _PLAIN or key != self._checked:
            names = ("steps", "guidance", "chains", "early_exit", "sampler", "to_one", "read_out")
            changes = {name: x for name, x in zip(names, asked, strict=True) if x is not None}
            checked = check_arguments(Arguments, **changes, seed=seed, top=top)
            seed, top = checked.seed, checked.top
            if asked not in self._inferences:
                changes = checked.model_dump(include=set(changes))
                self._inferences[asked] = self.inference.replace(**changes)
            self._checked = key
        inference = self._inferences[asked]
        if given is not None:
            require_type("given", given, Mapping)
            for name, value in given.items():
                require_type(f"given[{name!r}]", value, str)
        if given:
            # Not kept: almost every call gives other labels.
            inference = inference.replace(given=self.task.given_labels(given))
        rows = None
        if evidence is not None:
            rows = EvidenceRows(inference.problem, evidence)
            inference = inference.with_evidence(own_sampler=sampler is not None)
        votes = steps is not None or chains is not None
        return _Request(inference, votes, self._rows(side_inputs), rows, seed, top, trace)

    def _answers(
        self, images: Pictures, request: _Request, *, growing: bool = False
    ) -> Generator[list[Any | AddkitError], None, None]:
        """The predictions of each batch, with errors in place of pictures without one."""
        rows, device = request.side_inputs, self.device
        for index, (batch, errors, shown) in enumerate(self._batches(images, growing=growing)):
            predictions: Iterator[Any] = iter(())
            if len(batch):
                # Counted by batch: the answers of a batch do not depend on those before it.
                generator = counted_generator(request.seed, "predict", index, device=device)
                with torch.inference_mode():
                    side = rows.take(len(batch)) if rows else None
                    condition = self.network.condition(batch.to(device), side)  # (B, C, V)
                    evidence = None
                    if request.evidence:
                        evidence = request.evidence.take([error is None for error in errors])
                    predictions = map(
                        _with_picture,
                        self._predictions(condition, request, generator, evidence),
                        shown,
                    )
            yield [next(predictions) if error is None else error for error in errors]
        if rows:
            rows.end()

    def _predictions(
        self,
        condition: Tensor,
        request: _Request,
        generator: torch.Generator,
        evidence: Tensor | None,
    ) -> Sequence[Any]:
        """A prediction for each image, with the steps of its first chain if they are asked for."""
        top, inference = request.top, request.inference
        if not request.trace:
            answer = self._answer(condition, inference, generator, request.votes, evidence)
            return self.task.predictions(answer, top)
        traces: list[list[TracedStep]] = [[] for _ in condition]

        def watch(step: ChainStep) -> None:
            # Of all chains the first.
            scores = None if step.scores is None else step.scores[:, :1]
            prior = None if step.prior is None else step.prior[:, :1]
            clean, logits = Clean(step.clean.ids[:, :1]), step.logits[:, :1]
            first = replace(step, logits=logits, clean=clean, y_t=None, prior=prior, scores=scores)
            predictions = self.task.predictions(Last().read([first]), top)
            for trace, now, exited in zip(traces, predictions, step.exited.tolist(), strict=True):
                if not exited:
                    trace.append(TracedStep(step.t, now))

        answer = self._answer(condition, inference, generator, request.votes, evidence, watch)
        return [
            replace(each, trace=tuple(trace)) if isinstance(each, Made) else each
            for each, trace in zip(self.task.predictions(answer, top), traces, strict=True)
        ]

    def _rows(self, side_inputs: Known | None) -> SideInputRows | None:
        """Side inputs by batch; None where there are none."""
        if side_inputs is not None:
            require_type("side_inputs", side_inputs, Mapping)
        reads = self.network.diffusion.reads_side_inputs
        if not reads and not side_inputs:
            return None
        name = self.recipe.choices["conditioner"].name
        if side_inputs is None:
            columns = ", ".join(column.name for column in self.facts.columns)
            warnings.warn(
                f'the conditioner "{name}" reads {columns} as side inputs, and none is given: all '
                "count as missing (`addkit sample --input NAME=VALUE`)",
                AddkitWarning,
                stacklevel=4,
            )
        if not reads:
            raise UsageError(f'the conditioner "{name}" reads no side inputs')
        return SideInputRows(self.facts.columns, side_inputs) if side_inputs else None

    def _answer(
        self,
        condition: Tensor,
        inference: Inference,
        generator: torch.Generator,
        votes: bool,
        evidence: Tensor | None = None,
        watch: Callable[[ChainStep], None] | None = None,
    ) -> Answer:
        """The read-out's answer, with votes of chains of their own where it needs no chain.

        `watch` is called with each step of the chains.
        """
        alone = None if inference.one_pass else watch  # One pass is no chain.
        answer = inference.answer(self.network.diffusion, condition, generator, alone, evidence)
        if evidence is not None:
            return replace(answer, log_p=_posterior(answer))
        if self.facts.token_names:
            # Blocks of several tokens have no exact likelihood; their answers have no log p.
            with suppress(UsageError):
                log_p = inference.log_p(self.network.diffusion, condition, answer.candidates)
                answer = replace(answer, log_p=log_p)
        if not (votes and inference.one_pass):
            return answer
        # Behind the answer, with the same generator: asking for votes changes no answer.
        chains = inference.replace(read_out="last").answer(
            self.network.diffusion, condition, generator, watch
        )
        return replace(
            answer, votes=chains.votes, votes_steps=chains.steps, votes_inference=chains.inference
        )

    @torch.inference_mode()
    def trace(
        self,
        images: Pictures,
        inference: Inference,
        seed: int = 0,
        side_inputs: Known | None = None,
    ) -> list[ChainStep]:
        """Every step of the chains of up to one batch of images (figure 6)."""
        require_type("inference", inference, Inference)
        seed = check_arguments(Arguments, seed=seed).seed
        first, rows = next(self._batches(images), None), self._rows(side_inputs)
        if first is None:
            raise UsageError("images: none given")
        batch = _all_read(first)
        generator = counted_generator(seed, "trace", 0, device=self.device)
        side = rows.take(len(batch)) if rows else None
        condition = self.network.condition(batch.to(self.device), side)  # (B, C, V)
        return inference.trace(self.network.diffusion, condition, generator)

    def _batches(self, images: Pictures, *, growing: bool = False) -> Iterator[_Batch]:
        """Batches as the encoder reads them; `growing`: of 1, 2, 4, ... images at first.

        Batches follow from the images alone, and so does the noise, however quickly they are read.
        """
        largest, pixels = self.recipe.sampling.batch_size, self._pixels
        shape = (pixels.channels, pixels.image_size, pixels.image_size)
        if isinstance(images, Tensor) and images.dtype != torch.uint8:
            _check_prepared(images, shape)
            for batch in torch.split(images, largest):
                yield _Batch(batch, [None] * len(batch), [None] * len(batch))
            return
        failed: Exception | None = None
        kept = 0
        with closing(self._levels(images)) as read:
            for number in count():
                size = min(1 << min(number, 20), largest) if growing else largest
                levels: list[Tensor] = []  # (C, S, S) each
                errors: list[AddkitError | None] = []
                shown: list[ShownPicture | None] = []
                for name, picture in read:
                    if isinstance(picture, Tensor):
                        levels.append(picture)
                        errors.append(None)
                        if isinstance(name, Path):
                            shown.append(ShownPicture(str(name), name))
                        elif kept < SHOWN:
                            kept += 1
                            shown.append(ShownPicture(name, levels=picture))
                        else:
                            shown.append(None)
                    elif isinstance(picture, AddkitError):
                        errors.append(picture)
                    else:
                        failed = picture
                        break
                    # A picture among very many files that are none is not kept waiting.
                    if len(levels) == size or len(errors) == 4 * largest:
                        break
                if errors:
                    stacked = torch.stack(levels) if levels else torch.empty(0, *shape)
                    scaled = pixels.scaled(stacked, torch.empty(stacked.shape))  # (B, C, S, S)
                    yield _Batch(scaled, errors, shown)
                if failed is not None:
                    raise failed
                if not errors:
                    return

    def _levels(
        self, images: Pictures
    ) -> Generator[tuple[str | Path, Tensor | Exception], None, None]:
        """The path or URL of each picture, if it has one, with its 8-bit levels (C, S, S) or its
        error. An exception of the caller's own iterable comes last, after the pictures before it.
        """
        pixels, several = self._pixels, pictures_in(images)
        if several is None:
            # No threads for one picture.
            source = source_of(images, "images")
            yield source.shown_as, levels_of(source, pixels)
            return
        # Of those that are read at the moment; their pictures are not kept by it.
        names: deque[str | Path] = deque()

        def unread() -> Iterator[Unread]:
            try:
                for index, picture in enumerate(several):
                    name: str | Path = ""
                    try:
                        if isinstance(picture, AddkitError):
                            raise picture
                        source = source_of(picture, f"images[{index}]")
                        name = source.shown_as
                        in_memory = isinstance(source.file, Image.Image)
                        # Resized at once: its owner may change it, or free it.
                        ready: Unread = levels_of(source, pixels) if in_memory else source
                    except AddkitError as error:
                        ready = error
                    names.append(name)
                    yield ready
            except Exception as error:
                names.append("")
                yield error

        for result in read_ahead(unread(), pixels, READ_AHEAD):
            yield names.popleft(), result


def _posterior(answer: Answer) -> Tensor | None:
    """log p(candidate | image, soft evidence), (B, S); of a search among what it found. None for a
    single answer of unknown probability.
    """
    if answer.inference is not None and answer.inference.evidence == "state":
        return answer.scores
    if answer.candidates.shape[1] == 1:
        return None
    equal = (answer.candidates.unsqueeze(1) == answer.candidates.unsqueeze(2)).all(-1)
    repeated = equal.tril(-1).any(-1)  # (B, S): an earlier candidate is the same answer.
    total = answer.scores.masked_fill(repeated, -torch.inf).logsumexp(-1, keepdim=True)
    return answer.scores - total


def _with_picture(prediction: Any, shown: ShownPicture | None) -> Any:
    # A plugin's task may have predictions of its own.
    if shown is None or not isinstance(prediction, Made):
        return prediction
    return replace(prediction, picture=shown)


def _check_prepared(images: Tensor, shape: tuple[int, ...]) -> None:
    """Raise `UsageError` for anything but finite, dense float32 values (B, *shape)."""
    if images.ndim != 4 or images.shape[1:] != shape:
        raise UsageError(
            f"images: {images.dtype} of shape {tuple(images.shape)}; this run reads uint8 "
            f"(C, H, W), and float32 (B, *{shape}) as its data set prepares it"
        )
    if images.dtype != torch.float32 or images.is_meta or images.layout != torch.strided:
        raise UsageError(
            f"images: {images.dtype} on {images.device}; this run reads uint8 (C, H, W), and dense "
            "float32 values, (pixel - mean) / std as its data set prepares them"
        )
    if not images.isfinite().all():
        raise UsageError("images: some values are NaN or infinite")


def _all_read(batch: _Batch) -> Tensor:
    """The images of a batch; raises the first error in it."""
    for error in filter(None, batch.errors):
        raise error
    return batch.images


def _or_raise(batches: Iterable[list[Any | AddkitError]]) -> Iterator[Any]:
    """The answers one by one; an error is raised in its turn."""
    for answers in batches:
        for answer in answers:
            if isinstance(answer, AddkitError):
                raise answer
            yield answer


def load(path: Path | str | Run, *, weights: str = "ema", device: str = "cpu") -> Predictor:
    """Load a trained model from its run, from one of the run's checkpoints, or from a pack.

    The file of weights is compared with its checksum, and of a pack each file. Nothing in a pack is
    executed, and nothing is left of its zip on the disk.

    Args:
        path: a run, `runs/NAME`, or `step-N`, `latest` or `best` in its `checkpoints`; a pack as
            zip or folder, `https://...` (with `#sha256=...` behind it only that content), or
            `hf://ORG/NAME@REVISION`.
        weights: `ema` (the averaged ones; raw where the run was trained without) or `raw`. A pack
            has one of them, which `ema` takes.
        device: of the weights.

    Raises:
        UsageError: a wrong argument, or a URL or name that cannot be one.
        RunError: not a run, no checkpoint yet, or a missing or damaged file; names it and what else
            the run could answer with. A pack that is none, or a server that does not send it.
    """
    path = path.path if isinstance(path, Run) else path
    require_type("path", path, str, Path)
    require_type("weights", weights, str)
    if weights not in WEIGHTS:
        near = guess(weights, WEIGHTS)
        raise UsageError(f'weights "{weights}"{near}; known: {", ".join(WEIGHTS)}')
    check_device(device)
    with ExitStack() as stack:
        try:
            run, checkpoint = find_trained(stack.enter_context(opened(path)))
        except OSError as error:  # such as a name that is too long
            raise RunError(f"{path}: no such run folder ({error.strerror})") from None
        recipe, facts = run.recipe(tracked=False), run.facts()
        if others := run.changed_plugins(recipe):
            message = f"{path}: answers may differ: {'; '.join(others)}, since this run was trained"
            warnings.warn(message, AddkitWarning, stacklevel=2)
        weights, file = weights_of(run, checkpoint, recipe, weights)
        if checkpoint == run.path:
            check_facts(facts, run.path)
            recipe = located(recipe, run.path)
        # The file of first weights may be gone, and a checkpoint has every weight.
        scratch = {
            kind: replace(choice, config=choice.config.from_scratch())
            for kind in WITH_WEIGHTS
            for choice in (recipe.choices[kind],)
        }
        network = build_network(replace(recipe, choices={**recipe.choices, **scratch}), facts)
        fill(network, load_tensors(file), file)
        steps = run.manifest().chosen_steps
        if recipe.sampling.steps == "auto" and steps is None:
            message = f"{path}: its training has not chosen a number of steps, so answers take one"
            warnings.warn(message, AddkitWarning, stacklevel=2)
        step = step_in(run, checkpoint)
        predictor = Predictor(network.to(device), recipe, facts, steps, weights, step)
        if isinstance(predictor.task, Tags):
            predictor.task.thresholds = run.manifest().thresholds
        return predictor


def weights_of(run: Run, checkpoint: Path, recipe: Recipe, weights: str) -> tuple[str, Path]:
    """Which weights a model is loaded with, and their file. Raises `RunError` if it is missing or
    damaged, and `UsageError` if a pack has others.
    """
    if checkpoint == run.path:
        packed = pack_manifest(run.path).weights
        if weights == "raw" != packed:
            raise UsageError(f"{run.path}: this pack has the averaged weights, not the raw ones")
        return packed, run.path / WEIGHTS_FILE
    if not recipe.training.ema:
        # A run that was trained without averaging has no `ema` file.
        weights = "raw"
    file = checkpoint / f"{weights}.safetensors"
    if fault := fault_of(checkpoint, only=file.name):
        raise RunError(f"{fault}; {_instead(run, checkpoint, weights)}")
    if not (checkpoint / CHECKSUMS).exists():
        message = f"{checkpoint / CHECKSUMS}: missing, so that damaged weights would not be noticed"
        warnings.warn(message, AddkitWarning, stacklevel=3)
    return weights, file


def step_in(run: Run, checkpoint: Path) -> int | None:
    """The step of a run's checkpoint; None for one that was copied elsewhere, and of a pack for
    one that was none of its run's.
    """
    if checkpoint == run.path:
        return pack_manifest(run.path).step
    # A copy may have any name.
    return step_of(checkpoint) if checkpoint in checkpoints_in(run.checkpoints) else None


def _instead(run: Run, checkpoint: Path, weights: str) -> str:
    """The remedy for weights that are missing or damaged, as far as others are whole."""
    choices = ["put back a copy"]
    (other,) = set(WEIGHTS) - {weights}
    if not fault_of(checkpoint, only=f"{other}.safetensors"):
        choices.append(f"answer with its {other} weights (--weights {other})")
    for path in reversed(checkpoints_in(run.checkpoints)):
        if path != checkpoint and not fault_of(path, only=f"{weights}.safetensors"):
            choices.append(f"answer by another checkpoint (--run {quoted(path)})")
            break
    return ", or ".join(choices)


def check_device(device: str) -> None:
    """Raise `UsageError` if this machine cannot compute on the device of that name."""
    require_type("device", device, str, torch.device)
    try:
        has_memory = not torch.empty(0, device=device).is_meta
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f'device "{device}": {reason}; give one such as "cpu" or "cuda"') from None
    if not has_memory:
        raise UsageError(f'device "{device}" computes nothing; give one such as "cpu" or "cuda"')


# Tensors of runs that were trained before these names changed.
_RENAMED = {
    "diffusion.null": "diffusion.null_token",
    "diffusion.memory.weight": "diffusion.self_conditioning.weight",
    "diffusion.memory.bias": "diffusion.self_conditioning.bias",
    "diffusion.lengths.weight": "diffusion.length_head.weight",
    "diffusion.lengths.bias": "diffusion.length_head.bias",
}


def fill(network: torch.nn.Module, tensors: dict[str, Tensor], file: Path) -> None:
    """Copy stored tensors into a network; `RunError` if names or shapes differ."""
    tensors = {_RENAMED.get(name, name): tensor for name, tensor in tensors.items()}
    try:
        # Strict: a network with a missing tensor would answer with initial weights.
        network.load_state_dict(tensors)
    except RuntimeError as error:
        # torch writes a line for each kind of mismatch.
        reason = " ".join(str(error).split())
        raise RunError(f"{file}: does not fit the run's recipe: {reason}") from error


def _best(run: Run) -> Path | None:
    """The checkpoint that was scored, or the best so far, where the recipe uses that one."""
    if run.recipe_tables().get("checkpoints", {}).get("use") != "best":
        return None
    step, best = run.manifest().scored_step, pointed_at(run.checkpoints, "best")
    if step is not None:
        best = path_of(run.checkpoints, step)
        if not (best / "progress.json").is_file():
            message = f"{best}: missing, and its weights were scored; answers are by the last ones"
            warnings.warn(message, AddkitWarning, stacklevel=4)
            return None
    return best


def find_trained(path: Path) -> tuple[Run, Path]:
    """The run and the checkpoint that a path names; of a pack its folder is both. Raises `RunError`
    if there is no run, or no checkpoint yet.
    """
    if is_pack(path):
        return Run(path), path
    # `latest` and `best` are files that contain a checkpoint's name.
    if path.is_file() and path.parent.name == "checkpoints":
        path = pointed_at(path.parent, path.name) or path
    if (path / "progress.json").is_file():
        return Run.open(path.parent.parent), path
    if not path.is_dir():
        folders = [file.name for file in path.absolute().parent.glob("*/") if file.is_dir()]
        raise RunError(f"{path}: no such run folder{guess(path.name, folders)}")
    run = Run.open(path)
    checkpoint = _best(run) or checkpoint_of(run.checkpoints)
    if checkpoint is None:
        raise RunError(
            f"{path}: this run has no checkpoint yet; continue with "
            f"`{addkit_command('train', path, '--resume')}`"
        )
    return run, checkpoint
