"""A training whose weights, gradients and optimizer are spread over its processes (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from addkit.distributed.fsdp import (
    average_shards,
    fill_shards,
    gather_into,
    last_of_step,
    shard,
    whole_state,
)
from addkit.distributed.sharded_state import save_shards
from addkit.errors import RunError
from addkit.model import Network, build_network
from addkit.plugin.facts import DataFacts, SideInputs
from addkit.recipe import Recipe
from addkit.runs.checkpoint import load_tensors
from addkit.training.backend import compile_parts
from addkit.training.optimizer import averaged, build_optimizer, pack_optimizer
from addkit.training.restore import restore_optimizer
from addkit.training.step import StepValue, TrainingStep


class Sharded:
    """An `Engine` of which each process holds a share.

    Weights are gathered block by block where they are needed. Weights on the disk are whole; the
    optimizer's state, twice as large, is written by all processes, each its own share.

    Args:
        step: whole, the same on every process.
        recipe: of the training.
        facts: of its data.
        processes: that share it.
    """

    sharded: bool = True

    def __init__(
        self, step: TrainingStep, recipe: Recipe, facts: DataFacts, processes: int
    ) -> None:
        training = recipe.training
        self.network, self.step, self.recipe, self.facts = step.network, step, recipe, facts
        self.device = self.network.diffusion.null_token.device
        self.average = averaged(self.network, training.ema) if training.ema else None
        mesh = init_device_mesh(self.device.type, (processes,))
        shard(step, self.network, mesh, precision=training.precision)
        if self.average is not None:
            average_shards(self.average, self.network)
        self.optimizer: torch.optim.Optimizer = build_optimizer(self.network, training)
        if recipe.distributed.compile:
            compile_parts(self.network)

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        side_inputs: SideInputs | None = None,
    ) -> StepValue:
        """One micro-batch forward."""
        value: StepValue = self.step(images, labels, generator, side_inputs)
        return value

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Only the last micro-batch talks."""
        last_of_step(self.step, last)
        return nullcontext()

    @cached_property
    def _whole(self) -> dict[str, Network]:
        """Where whole weights are gathered to be evaluated; each process has all of them then."""
        names = ("raw",) if self.average is None else ("ema", "raw")
        return {name: build_network(self.recipe, self.facts).to(self.device) for name in names}

    def networks(self) -> dict[str, Network]:
        """Gathered anew: evaluation needs no more talk between processes then."""
        with torch.no_grad():
            for name, plain in self._whole.items():
                gather_into(plain, self._shares[name])
        return self._whole

    @property
    def _shares(self) -> dict[str, torch.nn.Module]:
        if self.average is None:
            return {"raw": self.network}
        return {"ema": self.average.module, "raw": self.network}

    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Whole weights."""
        return {name: whole_state(module.state_dict()) for name, module in self._shares.items()}

    def shards(self, folder: Path) -> Callable[[], None]:
        """The optimizer's state."""
        return save_shards(folder / "optimizer", pack_optimizer(self.network, self.optimizer))

    def load(self, checkpoint: Path, step: int) -> None:
        """Whole weights; the optimizer's state as shares of any number of processes, or whole."""
        for name, module in self._shares.items():
            file = checkpoint / f"{name}.safetensors"
            try:
                fill_shards(module, load_tensors(file))
            except (KeyError, ValueError) as error:
                raise RunError(f"{file}: does not fit the run's recipe: {error}") from error
        if self.average is not None:
            self.average.n_averaged.fill_(step)
        restore_optimizer(self.network, self.optimizer, checkpoint)
