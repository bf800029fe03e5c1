"""Batch norm's running statistics, the same whoever computed which micro-batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from addkit.distributed.world import World


class RunningStatistics:
    """Each micro-batch updates what the step began with; the step ends with the mean of them.

    Otherwise they would follow the order in which micro-batches happen to meet on a process.

    Args:
        network: in training, with or without batch norm.
        world: whose micro-batches count.
        parts: micro-batches in a step, over all processes; with 1 there is nothing to do.
    """

    def __init__(self, network: nn.Module, world: World, parts: int) -> None:
        self.world, self.parts = world, parts
        norms = network.modules() if parts > 1 else ()
        tracked = [m for m in norms if isinstance(m, _BatchNorm) and m.training]
        self.held = [x for m in tracked for x in (m.running_mean, m.running_var) if x is not None]
        self.counts = [m.num_batches_tracked for m in tracked if m.num_batches_tracked is not None]

    def begin(self) -> None:
        """Before the first micro-batch of a step."""
        self.start = [tensor.clone() for tensor in self.held]
        self.before = [count.clone() for count in self.counts]
        self.sums = [torch.zeros_like(tensor) for tensor in self.held]

    def collect(self) -> None:
        """After the forward pass of a micro-batch."""
        for tensor, total in zip(self.held, self.sums, strict=True):
            total += tensor

    def rewind(self) -> None:
        """After its backward pass, which may look at them."""
        for tensor, start in zip(self.held, self.start, strict=True):
            tensor.copy_(start)

    def send(self) -> None:
        """After the last `collect`: add up over all processes, behind what comes next."""
        if self.held:
            flat = torch.cat([total.flatten() for total in self.sums])
            self.arrived = self.world.all_reduce_async(flat)

    def settle(self) -> None:
        """After the last `rewind`."""
        if not self.held:
            return
        means = self.arrived().div_(self.parts)
        parts = torch.split(means, [tensor.numel() for tensor in self.held])
        for tensor, mean in zip(self.held, parts, strict=True):
            tensor.copy_(mean.view_as(tensor))
        for count, before in zip(self.counts, self.before, strict=True):
            count.copy_(before + 1)
