"""What one process computes of an optimizer step: the module that DDP and FSDP2 wrap."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from addkit.diffusion import ObjectiveSettings, ObjectiveValue, objective
from addkit.model import Network
from addkit.plugin.facts import SideInputs
from addkit.plugin.protocols import Task
from addkit.plugin.values import TimedLosses
from addkit.recipe import Recipe


class StepValue(NamedTuple):
    """Of one micro-batch. A tuple of tensors, since that is what wrappers can look into."""

    scaled: Tensor
    """Its share of this process's mean loss, as if all tokens counted alike; with gradient."""
    sums: Tensor
    """(5,): the weighted sum of losses and what divides it; accuracy, loss of real tokens and of
    pads, each a mean of this micro-batch. fp32."""
    tokens: int
    """B R N."""
    captions: bool
    """True if some tokens are real and others are pads."""
    timed: tuple[Tensor, Tensor, Tensor] | tuple[()]
    """`TimedLosses`: t, losses and weights; empty where times are not drawn."""

    @property
    def times(self) -> TimedLosses | None:
        """What tokens cost at their times."""
        return TimedLosses(*(x.detach() for x in self.timed)) if self.timed else None


class TrainingStep(nn.Module):
    """Images and labels -> the objective, as one call.

    Args:
        network: what is trained.
        task: what labels mean.
        recipe: which rows to look at, and in which precision.
        accumulation: micro-batches in a step of each process.
    """

    def __init__(self, network: Network, task: Task, recipe: Recipe, accumulation: int) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.settings = settings_of(recipe)
        self.low = recipe.training.precision == "bfloat16"
        self.accumulation = accumulation

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        side_inputs: SideInputs | None = None,
    ) -> StepValue:
        """Images (B, channels, size, size), labels (B, R, N), and what is known beside them."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.low):
            tokens = self.network.tokens(images)
            targets = self.task.targets(labels)
            value = objective(
                self.network.diffusion, tokens, targets, self.settings, generator, side_inputs
            )
        told = value.timed
        return StepValue(
            self._everywhere(value.total) / (value.tokens * self.accumulation),
            _sums(value),
            value.tokens,
            value.real_loss is not None,
            () if told is None else (told.t, told.losses, told.weights),
        )

    def _everywhere(self, total: Tensor) -> Tensor:
        """Let self-conditioning's weights have a gradient, 0 where its coin said no.

        The coin falls differently on each process, and all must send the same gradients.
        """
        memory = self.network.diffusion.self_conditioning
        return total if memory is None else total + 0 * sum(p.sum() for p in memory.parameters())


def _sums(value: ObjectiveValue) -> Tensor:
    nothing = value.total.new_zeros(())
    count = nothing + value.norm
    shown = (value.total, count, value.accuracy, value.real_loss, value.pad_loss)
    return torch.stack([nothing if x is None else x.detach().float() for x in shown])


def settings_of(recipe: Recipe) -> ObjectiveSettings:
    """Which rows a recipe's training looks at."""
    training = recipe.training
    return ObjectiveSettings(
        stratified=training.stratified,
        pure_noise=training.pure_noise,
        condition_drop=training.condition_drop,
        token_times=training.token_times,
        rollout=training.rollout,
    )
