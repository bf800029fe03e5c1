"""What tokens cost at each time of the diffusion, over many steps."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 10
"""Of [0, 1), equally wide."""


class LossByTime:
    """Weighted mean loss by t: ten bins, and t = T apart, where there is nothing but noise.

    Nothing is moved from the device before `tell`, so that adding waits for nothing.

    Args:
        device: of the losses.
    """

    sums: Tensor
    """(2, 11), weights and weighted losses; processes add theirs up before one of them tells."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, BINS + 1, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, t: Tensor, losses: Tensor, weights: Tensor) -> None:
        """Tokens of a step: times in [0, 1], losses and how much each counts, (tokens,) each."""
        place = torch.where(t < 1, (t * BINS).long().clamp(max=BINS - 1), BINS)
        self.sums.index_add_(1, place, torch.stack([weights, weights * losses]).double())

    def tell(self) -> dict[str, float]:
        """Mean loss by `0.0-0.1`, ..., `0.9-1.0` and `T`, bins without a token left out; forgets.

        It is as a line of metrics.jsonl has it under `loss_by_time`.
        """
        weights, losses = self.sums.tolist()
        self.sums.zero_()
        return {
            name: loss / weight
            for name, weight, loss in zip(_names(), weights, losses, strict=True)
            if weight
        }


def _names() -> list[str]:
    return [*(f"{bin_ / BINS:.1f}-{(bin_ + 1) / BINS:.1f}" for bin_ in range(BINS)), "T"]
