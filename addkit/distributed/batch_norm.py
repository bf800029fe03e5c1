"""Batch norm's running statistics, the same whichever process computed which micro-batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from addkit.distributed.world import World


class RunningStatistics:
    """Each micro-batch updates the statistics at the step's start; the step ends with their mean.

    Otherwise they would depend on which micro-batches a process computes, and in which order.

    Args:
        network: in training mode, with or without batch norm.
        world: whose micro-batches count.
        micro_batches: of a step, over all processes; with 1 they are only copied, for `undo`.
    """

    def __init__(self, network: nn.Module, world: World, micro_batches: int) -> None:
        self.world, self.micro_batches = world, micro_batches
        norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
        self.tensors = [x for m in norms for x in (m.running_mean, m.running_var) if x is not None]
        self.counts = [m.num_batches_tracked for m in norms if m.num_batches_tracked is not None]
        self.averaged = micro_batches > 1
        # For `undo` alone only where it costs nothing: on a GPU each copy is a launch.
        self.copied = self.averaged or all(tensor.is_cpu for tensor in self.tensors)

    def begin(self) -> None:
        """Before the first micro-batch of a step."""
        if not self.copied:
            return
        # Copies: the forward pass changes the tensors themselves.
        self.start = [tensor.clone() for tensor in self.tensors]
        self.start_counts = [count.clone() for count in self.counts]
        self.sums = [torch.zeros_like(tensor) for tensor in self.tensors]

    def collect(self, *, last: bool) -> None:
        """After a forward pass; the `last` one of the step sends the sums to all processes."""
        if not self.averaged:
            return
        for tensor, total in zip(self.tensors, self.sums, strict=True):
            total += tensor
        if last and self.tensors:
            # It travels behind the backward pass.
            self.summed = torch.cat([total.flatten() for total in self.sums])
            self.work = self.world.all_reduce_async(self.summed)

    def rewind(self) -> None:
        """After a backward pass, which reads them, and updates them where it computes again."""
        if not self.averaged:
            return
        for tensor, start in zip(self.tensors, self.start, strict=True):
            tensor.copy_(start)

    def settle(self) -> None:
        """After the last `rewind`."""
        if not (self.averaged and self.tensors):
            return
        if self.work is not None:
            self.work.wait()
        means = self.summed.div_(self.micro_batches)
        parts = torch.split(means, [tensor.numel() for tensor in self.tensors])
        for tensor, mean in zip(self.tensors, parts, strict=True):
            tensor.copy_(mean.view_as(tensor))
        # One step counts as one batch, however many micro-batches it was cut into.
        for count, start in zip(self.counts, self.start_counts, strict=True):
            count.copy_(start + 1)

    def undo(self) -> bool:
        """Put back the statistics from before `begin`; False if there is no copy of them."""
        if self.copied:
            for tensor, start in zip(
                [*self.tensors, *self.counts], [*self.start, *self.start_counts], strict=True
            ):
                tensor.copy_(start)
        return self.copied
