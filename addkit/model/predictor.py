"""A trained model with everything that it needs to answer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from addkit.data.images import prepare_image
from addkit.diffusion import Answer, ChainStep, counted_generator
from addkit.errors import AddkitWarning, RunError, UsageError, guess
from addkit.model.build import build_network, build_task, problem_of
from addkit.model.inference import Inference
from addkit.model.network import Network
from addkit.model.side_inputs import Known, SideInputRows
from addkit.plugin.facts import DataFacts
from addkit.plugin.protocols import Task
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.runs.checkpoint import load_tensors
from addkit.runs.checkpoint_files import checkpoint_of, pointed_at

File = Path | str | BinaryIO
Images = Tensor | File | Sequence[File]
WEIGHTS = ("ema", "raw")
WITH_WEIGHTS = ("encoder", "conditioner")
"""Kinds that may start from somebody's weights."""


class Predictor:
    """Answers for images: the network, how to read an image, and the recipe's way to answer.

    Args:
        network: with trained weights.
        recipe: what it was trained by.
        facts: of the data it was trained on.
        steps: of a chain, chosen after training where the recipe says auto.
    """

    def __init__(
        self, network: Network, recipe: Recipe, facts: DataFacts, steps: int | None = None
    ) -> None:
        self.network = network.eval()
        self.recipe = recipe
        self.facts = facts
        problem = problem_of(recipe, facts)
        self.task: Task = build_task(recipe, problem)
        self.inference = Inference.of(recipe, problem, steps)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.network.diffusion.null_token.device

    @property
    def loops(self) -> bool:
        """True if it answers by iterating on a state of its own; a plain decoder does not."""
        return "shared-time" in self.inference.process.spec.accepts  # type: ignore[attr-defined]

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names; numbers where the data has none."""
        return self.facts.class_names or tuple(map(str, range(self.facts.num_classes)))

    def pictures(self, images: Images) -> Tensor:
        """The images as the network sees them, scaled back to [0, 1] for a person to look at."""
        mean, std = (torch.tensor(x)[:, None, None] for x in (self.facts.mean, self.facts.std))
        return torch.cat(list(self._batches(images))) * std + mean

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
    ) -> list[Any]:
        """One `Prediction` for each image; what is not given is the recipe's.

        Args:
            images: a file (path or open binary file) or several, or a tensor
                (B, channels, size, size) as the data set prepares it.
            steps: of a chain, at least 1. A read-out of one pass answers by itself; with steps or
                chains given, chains run beside it and the votes are theirs.
            guidance: w in uncond + w (cond - uncond); 1 is off.
            chains: sampling trajectories for each image.
            sampler: name of the component.
            to_one: name of the component.
            read_out: name of the component.
            early_exit: leave an image once its answer stood for this many steps; 0 never.
            given: what is known: a caption's `template` (`a red _`) or `length`, or attributes'
                values by name.
            side_inputs: known columns beside the images, for conditioners that read them: a
                value for all of them as a person writes it, or what a `Batch` holds. The rest is
                missing.
            seed: of the noise. The same seed and images give the same answer.
            top: classes to tell.

        Raises:
            DataError: a file cannot be read; names it.
            UsageError: a number out of range, an unknown component, column or category.
        """
        rows = self._rows(side_inputs)
        ask = {"steps": steps, "guidance": guidance, "chains": chains, "early_exit": early_exit}
        held = self.task.given_labels(given) if given else None
        inference = self.inference.replace(
            sampler=sampler, to_one=to_one, read_out=read_out, given=held, **ask
        )
        votes = steps is not None or chains is not None
        told: list[Any] = []
        for index, batch in enumerate(self._batches(images)):
            generator = counted_generator(seed, "predict", index, device=self.device)
            condition = self._condition(batch, rows)
            told += self.task.predictions(self._answer(condition, inference, generator, votes), top)
        return told

    def _rows(self, side_inputs: Known | None) -> SideInputRows:
        reads = self.network.diffusion.reads_side_inputs
        if side_inputs is None and reads:
            warnings.warn(
                _nothing_side_inputs(self.recipe, self.facts), AddkitWarning, stacklevel=3
            )
        if side_inputs and not reads:
            name = self.recipe.choices["conditioner"].name
            raise UsageError(f'the conditioner "{name}" reads nothing beside the image')
        return SideInputRows(self.facts.columns, side_inputs or {})

    @torch.inference_mode()
    def _condition(self, images: Tensor, rows: SideInputRows) -> Tensor:
        return self.network.condition(images.to(self.device), rows.take(len(images)))

    @torch.inference_mode()
    def _answer(
        self, condition: Tensor, inference: Inference, generator: torch.Generator, votes: bool
    ) -> Answer:
        """A read-out of one pass has no chain to count votes of: one is run beside it if asked."""
        answer = inference.answer(self.network.diffusion, condition, generator)
        if self.facts.token_names:
            # Blocks of several tokens have no exact likelihood; their answers have no probability.
            with suppress(UsageError):
                log_p = inference.log_p(self.network.diffusion, condition, answer.candidates)
                answer = replace(answer, log_p=log_p)
        if not (votes and inference.one_pass):
            return answer
        chains = inference.replace(read_out="last").answer(
            self.network.diffusion, condition, generator
        )
        return replace(
            answer, votes=chains.votes, steps=chains.steps, votes_inference=chains.inference
        )

    @torch.inference_mode()
    def trace(
        self, images: Images, inference: Inference, seed: int = 0, side_inputs: Known | None = None
    ) -> list[ChainStep]:
        """Every step of the chains of up to one batch of images (figure 6)."""
        batch = next(self._batches(images))
        generator = counted_generator(seed, "trace", 0, device=self.device)
        condition = self._condition(batch, self._rows(side_inputs))
        return inference.trace(self.network.diffusion, condition, generator)

    def _batches(self, images: Images) -> Iterator[Tensor]:
        size = self.recipe.sampling.batch_size
        if isinstance(images, Tensor):
            self._check(images)
            yield from torch.split(images, size)
            return
        for files in _chunks(_several(images), size):
            yield torch.stack([prepare_image(_file(file), self.facts) for file in files])

    def _check(self, images: Tensor) -> None:
        facts = self.facts
        wanted = (facts.image_channels, facts.image_size, facts.image_size)
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise UsageError(
                f"images of shape {tuple(images.shape)}; this run reads (B, *{wanted})"
            )


def _nothing_side_inputs(recipe: Recipe, facts: DataFacts) -> str:
    return (
        f'the conditioner "{recipe.choices["conditioner"].name}" reads '
        f"{', '.join(column.name for column in facts.columns)} beside the image, and none is "
        "given: all count as missing (`addkit sample --input NAME=VALUE`)"
    )


def _several(images: File | Sequence[File]) -> Sequence[File]:
    if isinstance(images, Sequence) and not isinstance(images, str):
        return images
    return [images]


def _file(file: File) -> Path | BinaryIO:
    return Path(file) if isinstance(file, str) else file


def _chunks(files: Iterable[Any], size: int) -> Iterator[list[Any]]:
    files = iter(files)
    while chunk := list(islice(files, size)):
        yield chunk


def load(path: Path | str, *, weights: str = "ema", device: str = "cpu") -> Predictor:
    """A trained model from its run folder, or from one of the run's checkpoints.

    Args:
        path: `runs/NAME`, or `step-N`, `latest` or `best` in `runs/NAME/checkpoints`.
        weights: `ema` (the averaged ones; raw where the run keeps none) or `raw`.
        device: where to put it.

    Raises:
        RunError: not a run, no checkpoint yet, or a broken file; names it.
    """
    if weights not in WEIGHTS:
        raise UsageError(f'weights "{weights}"; known: {", ".join(WEIGHTS)}')
    run, checkpoint = _find(Path(path))
    recipe, facts = run.recipe(tracked=False), run.facts()
    if others := run.changed_plugins(recipe):
        told = f"{path}: answers may differ: {'; '.join(others)}, since this run was trained"
        warnings.warn(told, AddkitWarning, stacklevel=2)
    network = build_network(_from_scratch(recipe), facts)
    file = checkpoint / f"{weights}.safetensors"
    if not file.exists():
        file = checkpoint / "raw.safetensors"
    fill(network, load_tensors(file), file)
    return Predictor(network.to(device), recipe, facts, run.manifest().chosen_steps)


def _from_scratch(recipe: Recipe) -> Recipe:
    """The recipe without first weights, which may be gone: checkpoints hold all."""
    chosen = {kind: recipe.choices[kind] for kind in WITH_WEIGHTS}
    bare = {
        kind: replace(choice, config=choice.config.from_scratch())
        for kind, choice in chosen.items()
    }
    return replace(recipe, choices={**recipe.choices, **bare})


# Tensors of runs that were trained before these names changed.
_RENAMED = {
    "diffusion.null": "diffusion.null_token",
    "diffusion.memory.weight": "diffusion.self_conditioning.weight",
    "diffusion.memory.bias": "diffusion.self_conditioning.bias",
    "diffusion.lengths.weight": "diffusion.length_head.weight",
    "diffusion.lengths.bias": "diffusion.length_head.bias",
}


def fill(network: torch.nn.Module, tensors: dict[str, Tensor], file: Path) -> None:
    """Put stored tensors into a network; `RunError` if they are another network's."""
    tensors = {_RENAMED.get(name, name): tensor for name, tensor in tensors.items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        # torch writes a line for each kind of mismatch.
        reason = " ".join(str(error).split())
        raise RunError(f"{file}: does not fit the run's recipe: {reason}") from error


def _find(path: Path) -> tuple[Run, Path]:
    """The run and the checkpoint that a path means."""
    if path.is_file() and path.parent.name == "checkpoints":
        path = pointed_at(path.parent, path.name) or path
    if (path / "progress.json").is_file():
        return Run.open(path.parent.parent), path
    if not path.is_dir():
        folders = [one.name for one in path.absolute().parent.glob("*/") if one.is_dir()]
        raise RunError(f"{path}: no such run folder{guess(path.name, folders)}")
    run = Run.open(path)
    checkpoint = checkpoint_of(run.checkpoints)
    if checkpoint is None:
        raise RunError(
            f"{path}: this run has no checkpoint yet; go on with `addkit train --resume`"
        )
    return run, checkpoint
