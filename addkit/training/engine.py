"""Network, optimizer and averaged weights of a training, on one process or on several alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from addkit.model import Network
from addkit.model.predictor import fill
from addkit.plugin.facts import SideInputs
from addkit.recipe import Recipe
from addkit.runs.checkpoint import load_tensors
from addkit.training.backend import compile_parts
from addkit.training.optimizer import averaged, build_optimizer, pack_optimizer
from addkit.training.restore import restore_optimizer
from addkit.training.step import StepValue, TrainingStep


class Engine(Protocol):
    """What is trained, wherever its tensors lie."""

    network: Network
    """Whole, or this process's share of it."""
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    sharded: bool
    """True if each process must write its own share of a checkpoint."""

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        side_inputs: SideInputs | None = None,
    ) -> StepValue:
        """One micro-batch forward."""
        ...

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a micro-batch: gradients are summed in the last one."""
        ...

    def networks(self) -> dict[str, Network]:
        """To evaluate, each whole: averaged weights first, then the raw ones. All call it."""
        ...

    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """File name -> whole tensors for a checkpoint, on the leading process. All call it."""
        ...

    def shards(self, folder: Path) -> Callable[[], None] | None:
        """Write this process's share of the rest; what comes back waits for the shares of all."""
        ...

    def load(self, checkpoint: Path, step: int) -> None:
        """Go on from a checkpoint of any number of processes. `RunError` if it does not fit."""
        ...


class Replicated:
    """All of it on each process. Several average gradients by DDP, in buckets, while they come."""

    sharded: bool = False

    def __init__(self, step: TrainingStep, recipe: Recipe, processes: int) -> None:
        training = recipe.training
        self.network, self.step = step.network, step
        self.average = averaged(self.network, training.ema) if training.ema else None
        self.optimizer: torch.optim.Optimizer = build_optimizer(self.network, training)
        if recipe.distributed.compile:
            compile_parts(self.network)
        self.ddp = _ddp(step, recipe) if processes > 1 else None

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        side_inputs: SideInputs | None = None,
    ) -> StepValue:
        """One micro-batch forward."""
        value: StepValue = (self.ddp or self.step)(images, labels, generator, side_inputs)
        return value

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """Only the last micro-batch talks."""
        return nullcontext() if last or self.ddp is None else self.ddp.no_sync()

    def networks(self) -> dict[str, Network]:
        """The ones that are trained."""
        both = {"raw": self.network}
        if self.average is not None:
            both = {"ema": cast("Network", self.average.module), **both}
        return both

    def tensors(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Everything."""
        groups = {name: network.state_dict() for name, network in self.networks().items()}
        return {**groups, "optimizer": pack_optimizer(self.network, self.optimizer)}

    def shards(self, folder: Path) -> Callable[[], None] | None:
        """Nothing is left."""
        return None

    def load(self, checkpoint: Path, step: int) -> None:
        """Whole files, or an optimizer's shares."""
        for name, network in self.networks().items():
            file = checkpoint / f"{name}.safetensors"
            fill(network, load_tensors(file), file)
        if self.average is not None:
            self.average.n_averaged.fill_(step)
        restore_optimizer(self.network, self.optimizer, checkpoint)


def _ddp(step: TrainingStep, recipe: Recipe) -> DistributedDataParallel:
    # PyTorch's static graph fails its own assertion where gradients are accumulated, and it must
    # see the same graph each time, which self-conditioning's coin prevents.
    changing = step.network.diffusion.self_conditioning is not None or step.accumulation > 1
    return DistributedDataParallel(
        step,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        bucket_cap_mb=recipe.distributed.bucket_mb,
        find_unused_parameters=changing,
        static_graph=not changing,
    )
