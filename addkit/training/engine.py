"""Where network, optimizer and averaged weights live: whole on each process, or spread (FSDP2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from addkit.diffusion import ObjectiveSettings, ObjectiveValue, objective
from addkit.distributed.blocks import lay_out
from addkit.model import Network
from addkit.model.predictor import fill
from addkit.plugin.protocols import Task
from addkit.plugin.values import DataFacts, SideInputs
from addkit.recipe import Recipe
from addkit.runs.checkpoint import load_tensors
from addkit.training.backend import compile_parts
from addkit.training.optimizer import (
    WeightAverage,
    build_optimizer,
    encoder_lr_scale,
    pack_optimizer,
    restore_optimizer,
)
from addkit.training.plan import Plan


class LossModule(nn.Module):
    """Images and labels -> losses of one micro-batch: the one call that DDP and FSDP2 wrap.

    Args:
        network: to be trained.
        task: what labels mean.
        recipe: noise levels, dropped conditions and precision.
    """

    def __init__(self, network: Network, task: Task, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.task = task
        training = recipe.training
        self.settings = ObjectiveSettings(
            stratified=training.stratified,
            pure_noise=training.pure_noise,
            condition_drop=training.condition_drop,
            token_times=training.token_times,
            rollout=training.rollout,
            sum_tokens=training.sum_tokens,
        )
        # Autocast, since weights and loss stay in fp32.
        self.low_precision = training.precision == "bfloat16"

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        side_inputs: SideInputs | None = None,
    ) -> ObjectiveValue:
        """Images (B, channels, size, size), labels (B, R, N) and side inputs -> their losses."""
        diffusion = self.network.diffusion
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.low_precision):
            tokens = self.network.tokens(images)  # (B, L, W)
            targets = self.task.targets(labels)
            value = objective(diffusion, tokens, targets, self.settings, generator, side_inputs)
        if diffusion.self_conditioning is None:
            return value
        # The coin of self-conditioning falls differently on each process, and all must send
        # gradients of the same parameters: zeros where the coin left them out.
        zero = 0 * sum(p.sum() for p in diffusion.self_conditioning.parameters())
        return value._replace(total=value.total + zero)


class Engine(ABC):
    """What a training updates, wherever its tensors live.

    Args:
        module: whole, the same on every process.
        recipe: of the training.
    """

    module: nn.Module
    """`LossModule` as it is called: wrapped where processes share the work."""
    optimizer: torch.optim.Optimizer
    sharded: bool
    """True if each process must write its own share of a checkpoint."""

    def __init__(self, module: LossModule, recipe: Recipe) -> None:
        self.module, self.network = module, module.network
        # Averaged before it is compiled or spread: a copy of a compiled part calls the original.
        decay = recipe.training.ema
        self.average = WeightAverage(self.network, decay) if decay else None

    @abstractmethod
    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Context of a micro-batch's forward and backward: only the `last` one sums gradients."""

    def unfreeze(self) -> None:
        """Train a frozen encoder from the next step on."""
        self.network.unfreeze()

    @abstractmethod
    def networks(self) -> dict[str, Network]:
        """Whole networks to evaluate, averaged weights first. Every process must call it."""

    @abstractmethod
    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """File name -> whole tensors of a checkpoint, on rank 0. Every process must call it."""

    @abstractmethod
    def shards(self, folder: Path) -> Callable[[], None] | None:
        """Begin to write this process's share of the rest; the result waits for all shares."""

    def load(self, checkpoint: Path, step: int) -> None:
        """Continue from a checkpoint of any number of processes. `RunError` if it does not fit."""
        self.load_weights(checkpoint)
        if self.average is not None:
            # Not in the file of weights: it equals the step. The average's warm-up depends on it.
            self.average.n_averaged.fill_(step)
        restore_optimizer(self.network, self.optimizer, checkpoint)

    @abstractmethod
    def load_weights(self, checkpoint: Path) -> None:
        """Load a checkpoint's weights alone, raw and WeightAverage, into `networks`."""


class Replicated(Engine):
    """All of it on each process. Several average gradients by DDP, in buckets, during backward."""

    sharded = False

    def __init__(self, module: LossModule, recipe: Recipe, plan: Plan) -> None:
        super().__init__(module, recipe)
        lr_scale = encoder_lr_scale(recipe)
        self.optimizer = build_optimizer(self.network, recipe.training, plan.peak_lr, lr_scale)
        if recipe.distributed.compile:
            compile_parts(self.network)
        self._ddp: DistributedDataParallel | None = None
        # PyTorch's static graph fails its own assertion where gradients are accumulated, and needs
        # the same graph each time, which the coin of self-conditioning prevents.
        coin = self.network.diffusion.self_conditioning is not None
        self._changing = coin or plan.accumulation > 1
        self._bucket_mb = recipe.distributed.bucket_mb
        if plan.processes > 1:
            self._wrap(module)

    def _wrap(self, module: nn.Module) -> None:
        self.module = self._ddp = DistributedDataParallel(
            module,
            # Buffers are the same on all ranks anyhow, see `RunningStatistics`.
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            bucket_cap_mb=self._bucket_mb,
            find_unused_parameters=self._changing,
            static_graph=not self._changing,
        )

    def unfreeze(self) -> None:
        """See `Engine`."""
        super().unfreeze()
        if self._ddp is not None:
            # DDP lists parameters when it wraps, and lets go of them when it is deleted.
            inner = self._ddp.module
            self.optimizer.zero_grad(set_to_none=True)
            self.module = inner
            self._ddp = None
            self._wrap(inner)

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """See `Engine`."""
        # Without sync gradients are only added up locally; the last micro-batch sends their sum.
        return nullcontext() if last or self._ddp is None else self._ddp.no_sync()

    def networks(self) -> dict[str, Network]:
        """The trained tensors themselves."""
        raw = {"raw": self.network}
        if self.average is None:
            return raw
        return {"ema": cast("Network", self.average.module), **raw}

    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Weights and optimizer state."""
        groups = {name: network.state_dict() for name, network in self.networks().items()}
        return {**groups, "optimizer": pack_optimizer(self.network, self.optimizer)}

    def shards(self, folder: Path) -> Callable[[], None] | None:
        """Nothing is left to write."""
        return None

    def load_weights(self, checkpoint: Path) -> None:
        """See `Engine`."""
        for name, network in self.networks().items():
            file = checkpoint / f"{name}.safetensors"
            fill(network, load_tensors(file), file)


def build_engine(module: LossModule, recipe: Recipe, facts: DataFacts, plan: Plan) -> Engine:
    """The recipe's engine for a plan's processes and micro-batches."""
    if recipe.distributed.strategy == "fsdp":
        # Also on one process: another memory layout chooses other kernels, which round otherwise.
        lay_out(module.network)
        if plan.processes > 1:
            # FSDP2 takes a second to import.
            from addkit.training.sharded import Sharded

            return Sharded(module, recipe, facts, plan)
    return Replicated(module, recipe, plan)
