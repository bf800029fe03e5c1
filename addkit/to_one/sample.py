"""A label drawn from the predicted distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.randomness import draw_labels
from addkit.plugin.values import Clean


class Sample:
    """y_0 ~ softmax(logits / temperature), within the nucleus that holds a share top_p."""

    def __init__(self, temperature: float, top_p: float) -> None:
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> hard labels."""
        return draw_labels(_nucleus(logits / self.temperature, self.top_p), generator)


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """-inf outside the fewest classes whose probabilities sum to at least top_p."""
    if top_p == 1:
        return logits
    probability, order = logits.softmax(-1).sort(dim=-1, descending=True)
    before = probability.cumsum(-1) - probability
    outside = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return logits.masked_fill(outside, -torch.inf)
