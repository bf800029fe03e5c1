"""A trained model that answers for images: `load` and `Predictor`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import torch
from torch import Tensor

from addkit.data.images import Pixels, read_image, to_levels
from addkit.data.side_inputs import encoded
from addkit.diffusion import Answer, ChainStep, counted_generator
from addkit.errors import AddkitWarning, DataError, RunError, UsageError, guess, require_type
from addkit.model.build import build_network, build_task, problem_of
from addkit.model.inference import Arguments, Inference
from addkit.model.network import Network
from addkit.plugin.protocols import Task
from addkit.plugin.values import NO_CATEGORY, Column, DataFacts, SideInputs
from addkit.recipe import Recipe
from addkit.recipe.validation import check_arguments
from addkit.runs import Run
from addkit.runs.atomic import CHECKSUMS
from addkit.runs.checkpoint import load_tensors
from addkit.runs.checkpoint_files import checkpoint_of, checkpoints_in, fault_of, pointed_at
from addkit.runs.opening import opened
from addkit.runs.packs import WEIGHTS as WEIGHTS_FILE
from addkit.runs.packs import is_pack, located, pack_manifest
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


File = Path | str | BinaryIO
Images = Tensor | File | Sequence[File]
WEIGHTS = ("ema", "raw")
_PLAIN = {int, float, str, type(None)}  # types whose values compare to a bool
WITH_WEIGHTS = ("encoder", "conditioner")
"""Kinds whose settings may name a file of first weights."""


class Predictor:
    """Predicts labels of images with a trained network, by default as its recipe describes.

    Args:
        network: with trained weights.
        recipe: the one it was trained by.
        facts: of the data it was trained on.
        steps: of a chain, chosen after training where `sampling.steps` is auto.
        weights: those of the network, `ema` or `raw`.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        facts: DataFacts,
        steps: int | None = None,
        weights: str = "raw",
    ) -> None:
        require_type("network", network, Network)
        require_type("recipe", recipe, Recipe)
        require_type("facts", facts, DataFacts)
        self.network = network.eval()
        self.recipe, self.weights = recipe, weights
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

    def pictures(self, images: Images) -> Tensor:
        """The images as the network reads them, scaled back to [0, 1] for display."""
        if not (batches := list(self._batches(images))):
            raise UsageError("images: none given")
        # (channels, 1, 1) each.
        mean, std = (torch.tensor(x)[:, None, None] for x in (self.facts.mean, self.facts.std))
        return torch.cat(batches) * std + mean

    def predict(
        self,
        images: Images,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        chains: int | None = None,
        sampler: str | None = None,
        to_one: str | None = None,
        read_out: str | None = None,
        early_exit: int | None = None,
        given: Mapping[str, str] | None = None,
        side_inputs: Known | None = None,
        seed: int = 0,
        top: int = 5,
        first_batch: int = 0,
    ) -> list[Any]:
        """Return one `Prediction` for each image; None takes the recipe's setting.

        Args:
            images: a file (path or open binary file) or several, or a tensor
                (B, channels, size, size) as the data set prepares it.
            steps: of a chain, at least 1. A read-out of one pass needs no chain; with steps or
                chains given, chains run as well, and the votes are theirs.
            guidance: w in uncond + w (cond - uncond); 1 is off.
            chains: sampling trajectories for each image.
            sampler: name of the component.
            to_one: name of the component.
            read_out: name of the component.
            early_exit: stop an image once its answer has not changed for this many steps; 0
                disables.
            given: labels that the user gives: a caption's `template` (`a red _`) or `length`, or
                attributes' values by name.
            side_inputs: values by column, for conditioners that read side inputs: a text for all
                images, or one row for each as in a `Batch`. Other columns count as missing.
            seed: of the noise. The same seed and images give the same answer.
            top: number of answers in each prediction.
            first_batch: number of the first batch. The noise is counted by it, so that a caller
                that passes the images in pieces draws other noise for each.

        Raises:
            DataError: a file cannot be read; names it.
            UsageError: a number out of range, an unknown component, column or category.
        """
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
        rows, device = self._rows(side_inputs), self.device
        if given is not None:
            require_type("given", given, Mapping)
            for name, value in given.items():
                require_type(f"given[{name!r}]", value, str)
        if given:
            # Not kept: almost every call gives other labels.
            inference = inference.replace(given=self.task.given_labels(given))
        votes = steps is not None or chains is not None
        predictions: list[Any] = []
        for index, batch in enumerate(self._batches(images), first_batch):
            # Counted by batch: the answers of a batch do not depend on those before it.
            generator = counted_generator(seed, "predict", index, device=device)
            with torch.inference_mode():
                side = rows.take(len(batch)) if rows else None
                condition = self.network.condition(batch.to(device), side)  # (B, C, V)
                answer = self._answer(condition, inference, generator, votes)
            predictions += self.task.predictions(answer, top)
        if rows:
            rows.end()
        return predictions

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
                stacklevel=3,
            )
        if not reads:
            raise UsageError(f'the conditioner "{name}" reads no side inputs')
        return SideInputRows(self.facts.columns, side_inputs) if side_inputs else None

    def _answer(
        self, condition: Tensor, inference: Inference, generator: torch.Generator, votes: bool
    ) -> Answer:
        """The read-out's answer, with votes of chains of their own where it needs no chain."""
        answer = inference.answer(self.network.diffusion, condition, generator)
        if self.facts.token_names:
            # Blocks of several tokens have no exact likelihood; their answers have no log p.
            with suppress(UsageError):
                log_p = inference.log_p(self.network.diffusion, condition, answer.candidates)
                answer = replace(answer, log_p=log_p)
        if not (votes and inference.one_pass):
            return answer
        # Behind the answer, with the same generator: asking for votes changes no answer.
        chains = inference.replace(read_out="last").answer(
            self.network.diffusion, condition, generator
        )
        return replace(
            answer, votes=chains.votes, votes_steps=chains.steps, votes_inference=chains.inference
        )

    @torch.inference_mode()
    def trace(
        self, images: Images, inference: Inference, seed: int = 0, side_inputs: Known | None = None
    ) -> list[ChainStep]:
        """Every step of the chains of up to one batch of images (figure 6)."""
        require_type("inference", inference, Inference)
        seed = check_arguments(Arguments, seed=seed).seed
        batch, rows = next(self._batches(images), None), self._rows(side_inputs)
        if batch is None:
            raise UsageError("images: none given")
        generator = counted_generator(seed, "trace", 0, device=self.device)
        side = rows.take(len(batch)) if rows else None
        condition = self.network.condition(batch.to(self.device), side)  # (B, C, V)
        return inference.trace(self.network.diffusion, condition, generator)

    def _batches(self, images: Images) -> Iterator[Tensor]:
        """Batches (B, channels, size, size) as the encoder reads them."""
        size, pixels = self.recipe.sampling.batch_size, self._pixels
        if isinstance(images, Tensor):
            shape = (pixels.channels, pixels.image_size, pixels.image_size)
            if images.ndim != 4 or images.shape[1:] != shape:
                raise UsageError(
                    f"images of shape {tuple(images.shape)}; this run reads (B, *{shape})"
                )
            if images.dtype != torch.float32 or images.is_meta or images.layout != torch.strided:
                raise UsageError(
                    f"images of {images.dtype} on {images.device}; this run reads dense float32 "
                    "values, (pixel - mean) / std as its data set prepares them"
                )
            if not images.isfinite().all():
                raise UsageError("images: some values are NaN or infinite")
            yield from torch.split(images, size)
            return
        # A str is a Sequence too, of letters.
        several = isinstance(images, Sequence) and not isinstance(images, str)
        listed = cast("Sequence[File]", images if several else [images])
        for file in listed:
            if isinstance(file, bytes) or not (
                isinstance(file, str | Path) or hasattr(file, "read")
            ):
                raise UsageError(
                    f"images: found a value of type {type(file).__name__}; give a file (a path or "
                    f"an open binary file), a list of files, or a tensor (B, channels, size, size)"
                )
            if isinstance(file, str) and not file:
                raise UsageError("images: an empty name")  # As a path it is the working directory.
        files = iter(listed)
        # Read batch by batch, so that a folder of any size fits in memory.
        while chunk := list(islice(files, size)):
            paths = (Path(file) if isinstance(file, str) else file for file in chunk)
            read = (pixels.fit(read_image(path, pixels.channels)) for path in paths)
            levels = torch.stack([to_levels(image) for image in read])  # (B, C, S, S)
            yield pixels.scaled(levels, torch.empty(levels.shape))


def load(path: Path | str, *, weights: str = "ema", device: str = "cpu") -> Predictor:
    """Load a trained model from its run, from one of the run's checkpoints, or from a pack.

    The file of weights is compared with its checksum, and of a pack each file. Nothing in a pack is
    executed, and nothing is left of its zip on the disk.

    Args:
        path: `runs/NAME`, or `step-N`, `latest` or `best` in `runs/NAME/checkpoints`; a pack as zip
            or folder, `https://...` (with `#sha256=...` behind it only that content), or
            `hf://ORG/NAME@REVISION`.
        weights: `ema` (the averaged ones; raw where the run was trained without) or `raw`. A pack
            has one of them, which `ema` takes.
        device: of the weights.

    Raises:
        UsageError: a wrong argument, or a URL or name that cannot be one.
        RunError: not a run, no checkpoint yet, or a missing or damaged file; names it and what else
            the run could answer with. A pack that is none, or a server that does not send it.
    """
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
        return Predictor(network.to(device), recipe, facts, steps, weights)


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
    checkpoint = checkpoint_of(run.checkpoints)
    if checkpoint is None:
        raise RunError(
            f"{path}: this run has no checkpoint yet; continue with "
            f"`{addkit_command('train', path, '--resume')}`"
        )
    return run, checkpoint
