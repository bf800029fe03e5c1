"""Everything a training holds in memory, and how it goes to disk and comes back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import cast

import torch
from torch import nn

from addkit.data.loader import Loader, fitting_workers
from addkit.data.order import epoch_batches
from addkit.diffusion import counted_seed
from addkit.distributed.fsdp import lay_out
from addkit.distributed.signals import StopSignals
from addkit.distributed.world import World
from addkit.errors import AddkitWarning
from addkit.model import Network, build_data, build_network, build_task, problem_of
from addkit.plugin.facts import Batch, DataFacts
from addkit.plugin.protocols import DataSource, ImageSet, Task
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.runs.atomic import clean_temporaries
from addkit.runs.checkpoint import CheckpointWriter, Progress, load_progress
from addkit.runs.checkpoint_files import Keep, newest_whole
from addkit.training.backend import prepared
from addkit.training.engine import Engine, Replicated
from addkit.training.plan import Plan
from addkit.training.sharded import Sharded
from addkit.training.step import TrainingStep


@dataclass(slots=True)
class Job:
    """A training in progress, as one of its processes sees it."""

    run: Run
    recipe: Recipe
    plan: Plan
    source: DataSource
    images: ImageSet
    task: Task
    engine: Engine
    loader: Loader
    writer: CheckpointWriter
    world: World = field(default_factory=World)
    stop: StopSignals = field(default_factory=StopSignals)
    progress: Progress = field(default_factory=Progress)
    saved: Path | None = None
    """The newest checkpoint."""
    saved_step: int = 0
    saved_at: float = field(default_factory=monotonic)
    _end_shares: Callable[[], None] = lambda: None

    @classmethod
    def open(
        cls,
        run: Run,
        recipe: Recipe,
        device: str,
        world: World | None = None,
        stop: StopSignals | None = None,
    ) -> Job:
        """Build the recipe's training and load the run's newest checkpoint, if it has one."""
        world = world or World()
        source = build_data(recipe)
        network = prepared(build_network(recipe, source.facts).to(device), recipe)
        source = served(source, network)
        # All of them, so that a broken file stops the training before it begins.
        images = {name: source.split(name) for name in source.facts.split_sizes}["train"]
        plan = Plan.of(recipe, len(images), world.size)
        task = build_task(recipe, problem_of(recipe, source.facts))
        step = TrainingStep(network, task, recipe, plan.accumulation)
        job = cls(
            run=run,
            recipe=recipe,
            plan=plan,
            source=source,
            images=images,
            task=task,
            engine=_engine(step, recipe, source.facts, world),
            loader=_loader(images, recipe, world, device),
            writer=_writer(run, recipe, plan),
            world=world,
            stop=stop or StopSignals(),
        )
        job._resume()
        return job

    def close(self) -> None:
        """Wait for the last checkpoint, and let the loader's processes go."""
        self.loader.close()
        self._end_shares()
        self.writer.close()

    def _resume(self) -> None:
        refused: list[str] = []
        if self.world.is_main:
            clean_temporaries(self.run.path)
            clean_temporaries(self.run.checkpoints)
            self.saved, refused = newest_whole(self.run.checkpoints)
            self.writer.saved = self.saved
        self.saved, refused = self.world.broadcast((self.saved, refused))
        for line in refused if self.world.is_main else ():
            warnings.warn(line, AddkitWarning, stacklevel=2)
        if self.saved is None:
            self.save(wait=True)
            return
        self.progress = load_progress(self.saved)
        self.saved_step = self.progress.step
        self.engine.load(self.saved, self.progress.step)
        if self.world.is_main:
            self.run.forget_after(self.progress.step)

    def save(self, *, wait: bool = False) -> None:
        """Write a checkpoint of this moment; training may go on while it is being written."""
        self._end_shares()
        tensors = self.engine.tensors()
        if self.world.is_main:
            parts = self._begin_shares if self.engine.sharded else None
            self.saved = self.writer.save(self.progress, tensors, parts=parts, wait=wait)
        elif self.engine.sharded:
            self._begin_shares(Path())
        self.saved_step, self.saved_at = self.progress.step, monotonic()

    def save_once(self) -> None:
        """`save`, unless this step has been."""
        if self.saved_step != self.progress.step:
            self.save()

    def _begin_shares(self, folder: Path) -> Callable[[], None]:
        """All processes write into the leader's folder."""
        self._end_shares = self.engine.shards(self.world.broadcast(folder)) or (lambda: None)
        return self._end_shares

    def mark_best(self) -> None:
        """The newest checkpoint is the best so far; write one where it is not of this step."""
        self.save_once()
        if self.world.is_main:
            self.writer.mark_best()

    @property
    def workers(self) -> int:
        """Loader processes of this one."""
        return fitting_workers(self.recipe.distributed.workers, self.world.local_size)

    @property
    def minutes_since_save(self) -> float:
        """Of wall time."""
        return (monotonic() - self.saved_at) / 60

    @property
    def network(self) -> Network:
        """What is trained."""
        return self.engine.network

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self.network.diffusion.null.device

    def steps(self, epoch: int) -> Iterator[list[Batch]]:
        """Micro-batches of this process, step by step, for the rest of an epoch, in order.

        Process r of P takes micro-batches r, r + P, ... of a step. Which images one holds does not
        depend on how many processes or accumulation steps share the global batch.
        """
        plan, seed = self.plan, self.recipe.seed
        order = epoch_batches(
            self.images,
            seed,
            epoch,
            steps=plan.steps_per_epoch,
            parts=plan.parts,
            size=plan.per_process_batch,
        )
        first = self.progress.step - epoch * plan.steps_per_epoch
        own = order[first:, self.world.rank :: plan.processes].flatten(0, 1)
        batches = self.loader.batches(own.tolist(), counted_seed(seed, "augment", epoch))
        while micro_batches := list(islice(batches, plan.accumulation)):
            yield micro_batches


def served(source: DataSource, network: Network) -> DataSource:
    """The data as the encoder wants it served, such as features computed once; else as it is."""
    serve = getattr(network.encoder, "serve", None)
    return source if serve is None else cast("DataSource", serve(source))


def parameters(network: nn.Module) -> list[nn.Parameter]:
    """The trained ones."""
    return [p for p in network.parameters() if p.requires_grad]


def _engine(step: TrainingStep, recipe: Recipe, facts: DataFacts, world: World) -> Engine:
    if recipe.distributed.strategy == "fsdp":
        # Also on one process: another layout means other kernels, and other rounding.
        lay_out(step.network)
        if world.size > 1:
            return Sharded(step, recipe, facts, world.size)
    return Replicated(step, recipe, world.size)


def _loader(images: ImageSet, recipe: Recipe, world: World, device: str) -> Loader:
    spread = recipe.distributed
    workers = fitting_workers(spread.workers, world.local_size)
    return Loader(images, workers, prefetch=spread.prefetch, pin=device.startswith("cuda"))


def _writer(run: Run, recipe: Recipe, plan: Plan) -> CheckpointWriter:
    wanted = recipe.checkpoints
    keep = Keep(last=wanted.keep_last, every=wanted.keep_every * plan.steps_per_epoch)
    return CheckpointWriter(run.checkpoints, keep, asynchronous=wanted.asynchronous)
