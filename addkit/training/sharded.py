"""Network, optimizer and averaged weights spread over processes (FSDP2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from addkit.distributed.fsdp import (
    average_shards,
    fill_shards,
    gather_into,
    last_of_step,
    save_shards,
    shard,
    whole_state,
)
from addkit.errors import RunError
from addkit.model import Network, build_network
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.runs.checkpoint import load_tensors
from addkit.training.backend import compile_parts
from addkit.training.engine import Engine, LossModule
from addkit.training.optimizer import build_optimizer, encoder_lr_scale, pack_optimizer
from addkit.training.plan import Plan


class Sharded(Engine):
    """A share of every tensor on each process.

    Weights are gathered block by block where they are needed. Weights on the disk are whole; the
    optimizer's state, twice as large, is written by all processes, each its own share.

    Args:
        module: whole, the same on every process.
        recipe: of the training.
        facts: of its data.
        plan: of its steps and processes.
    """

    sharded = True

    def __init__(self, module: LossModule, recipe: Recipe, facts: DataFacts, plan: Plan) -> None:
        super().__init__(module, recipe)
        self._recipe, self._facts = recipe, facts
        self._device = self.network.diffusion.null_token.device
        mesh = init_device_mesh(self._device.type, (plan.processes,))
        # In place: `module` and `network` keep their names, their parameters become DTensors.
        shard(module, self.network, mesh, precision=recipe.training.precision)
        if self.average is not None:
            average_shards(self.average, self.network)
        # Only now: the optimizer must hold the sharded parameters, not those they replaced.
        lr_scale = encoder_lr_scale(recipe)
        self.optimizer = build_optimizer(self.network, recipe.training, plan.peak_lr, lr_scale)
        if recipe.distributed.compile:
            compile_parts(self.network)

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """See `Engine`."""
        last_of_step(self.module, last)
        return nullcontext()

    @cached_property
    def _whole(self) -> dict[str, Network]:
        """Plain networks into which whole weights are gathered."""
        # On the first evaluation, not before: they take as much memory as an unsharded training.
        return {
            name: build_network(self._recipe, self._facts).to(self._device) for name in self._shares
        }

    def networks(self) -> dict[str, Network]:
        """Gathered again, so that an evaluation needs no communication."""
        # Each process scores its own batches, as many as it likes, which FSDP2 does not allow.
        with torch.no_grad():
            for name, plain in self._whole.items():
                gather_into(plain, self._shares[name])
        return self._whole

    @property
    def _shares(self) -> dict[str, nn.Module]:
        if self.average is None:
            return {"raw": self.network}
        return {"ema": self.average.module, "raw": self.network}

    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Weights."""
        return {name: whole_state(module.state_dict()) for name, module in self._shares.items()}

    def shards(self, folder: Path) -> Callable[[], None]:
        """Optimizer state."""
        return save_shards(folder / "optimizer", pack_optimizer(self.network, self.optimizer))

    def load_weights(self, checkpoint: Path) -> None:
        """See `Engine`."""
        for name, module in self._shares.items():
            file = checkpoint / f"{name}.safetensors"
            try:
                fill_shards(module, load_tensors(file))
            except (KeyError, ValueError) as error:
                raise RunError(f"{file}: does not fit the run's recipe: {error}") from error
