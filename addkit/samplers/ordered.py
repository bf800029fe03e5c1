"""Samplers that settle one token after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from addkit.samplers.shared import SharedTime

Order = Callable[[Tensor, Tensor, torch.Generator], Tensor]


class Ordered(SharedTime):
    """Settles a share of the tokens in each step, the first ones of an order.

    Args:
        order: ranks tokens, the larger the sooner: (B, R, N, K) logits, (B, R, N) labels and a
            generator -> (B, R, N).
        anneals: the others follow the time grid; else they wait at t = T, which is masked
            diffusion written with Gaussian noise.
    """

    def __init__(self, order: Order, *, anneals: bool = False) -> None:
        self.order = order
        self.anneals = anneals


def _confidence(logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """log p of the label that each token has now."""
    picked = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return picked - logits.logsumexp(-1)


def _left_to_right(logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    return -torch.arange(labels.shape[-1], device=labels.device).float().expand(labels.shape)


def _random(logits: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(labels.shape, generator=generator, device=labels.device)


ORDERS: dict[Literal["confidence", "left-to-right", "random"], Order] = {
    "confidence": _confidence,
    "left-to-right": _left_to_right,
    "random": _random,
}


class Beam(Ordered):
    """Left to right, keeping the `width` most probable beginnings.

    Args:
        width: beginnings kept.
        length_power: ranks by log p / length ** length_power; 0 is log p itself.
    """

    def __init__(self, width: int, length_power: float) -> None:
        super().__init__(_left_to_right)
        self.width, self.length_power = width, length_power
