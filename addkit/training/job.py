"""Everything a training holds in memory, and how it goes to disk and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from addkit.data.loading import epoch_order, load
from addkit.diffusion import counted_seed
from addkit.errors import RunError
from addkit.model import Network, build_data, build_network, build_task, problem_of
from addkit.model.predictor import fill
from addkit.plugin.protocols import Batch, DataSource, ImageSet, Task
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.runs.checkpoint import (
    Progress,
    checkpoint_of,
    clean_temporaries,
    load_progress,
    load_tensors,
    save_checkpoint,
)
from addkit.training.optimizer import averaged, build_optimizer, pack_optimizer, unpack_optimizer
from addkit.training.plan import Plan, World, check_world

__all__ = ["Job"]


@dataclass(slots=True)
class Job:
    """A training in progress."""

    run: Run
    recipe: Recipe
    plan: Plan
    source: DataSource
    images: ImageSet
    task: Task
    network: Network
    optimizer: torch.optim.AdamW
    average: AveragedModel | None
    world: World = field(default_factory=World)
    progress: Progress = field(default_factory=Progress)
    saved: Path | None = None
    """The newest checkpoint."""

    @classmethod
    def open(cls, run: Run, recipe: Recipe, device: str) -> Job:
        """Build the recipe's training and load the run's newest checkpoint, if it has one."""
        check_world(recipe, World())
        source = build_data(recipe)
        # All of them, so that a broken file stops the training before it begins.
        splits = {name: source.split(name) for name in source.facts.split_sizes}
        images = splits["train"]
        network = build_network(recipe, source.facts).to(device)
        if recipe.distributed.recompute_activations:
            network.recompute_activations()
        ema = recipe.training.ema
        job = cls(
            run=run,
            recipe=recipe,
            plan=Plan.of(recipe, len(images)),
            source=source,
            images=images,
            task=build_task(recipe, problem_of(recipe, source.facts)),
            network=network,
            optimizer=build_optimizer(network, recipe.training),
            average=averaged(network, ema) if ema else None,
        )
        job._resume()
        return job

    def _resume(self) -> None:
        clean_temporaries(self.run.path)
        clean_temporaries(self.run.checkpoints)
        self.saved = checkpoint_of(self.run.checkpoints)
        if self.saved is None:
            self.save()
            return
        self.progress = load_progress(self.saved)
        file = self.saved / "raw.safetensors"
        fill(self.network, load_tensors(file), file)
        file = self.saved / "optimizer.safetensors"
        try:
            unpack_optimizer(self.network, self.optimizer, load_tensors(file))
        except (KeyError, ValueError) as error:
            raise RunError(f"{file}: does not fit the run's recipe: {error}") from error
        if self.average is not None:
            file = self.saved / "ema.safetensors"
            fill(self.average.module, load_tensors(file), file)
            self.average.n_averaged.fill_(self.progress.step)
        self.run.forget_after(self.progress.step)

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        groups = {"raw": self.network.state_dict()}
        if self.average is not None:
            groups["ema"] = self.average.module.state_dict()
        groups["optimizer"] = pack_optimizer(self.network, self.optimizer)
        self.saved = save_checkpoint(self.run.checkpoints, self.progress, groups)

    @property
    def weights(self) -> dict[str, Network]:
        """The networks to evaluate: averaged weights first, then the raw ones."""
        both = {"raw": self.network}
        if self.average is not None:
            both = {"ema": cast("Network", self.average.module), **both}
        return both

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self.network.diffusion.null.device

    def micro_batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of this process for the rest of an epoch, in order.

        The global batch is cut into micro-batches; process r takes every size-th. Which images a
        micro-batch holds does not depend on how many processes or accumulation steps share it.
        """
        plan, seed = self.plan, self.recipe.seed
        order = epoch_order(seed, epoch, len(self.images)).tolist()
        first = self.progress.step - epoch * plan.steps_per_epoch
        parts = plan.accumulation * plan.processes
        slices = [
            order[start : start + plan.per_process_batch]
            for number in range(first * parts, plan.steps_per_epoch * parts)
            if number % plan.processes == self.world.rank
            for start in [number * plan.per_process_batch]
        ]
        return load(
            self.images,
            slices,
            seed=counted_seed(seed, "augment", epoch),
            workers=self.recipe.distributed.workers,
        )


def parameters(network: nn.Module) -> list[nn.Parameter]:
    """The trained ones."""
    return [p for p in network.parameters() if p.requires_grad]
