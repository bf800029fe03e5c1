"""From logits to the clean label that is fed back: arg max (the paper's), softmax, a draw."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.randomness import draw_labels
from addkit.plugin.values import Clean


class ArgMax:
    """y_0 = onehot(arg max_k p(k | y_t, c)) (section 3.2)."""

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> hard labels; the generator is not used."""
        return Clean(logits.argmax(-1))  # (B, R, N); the first class among equals


class Softmax:
    """y_0 = softmax(logits / temperature) (table 2)."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> soft labels; the generator is not used."""
        # (B, R, N, K). A soft label has no `draw`: y_t is noised K-wide.
        soft = (logits / self.temperature).softmax(-1)
        return Clean(soft.argmax(-1), soft)  # (B, R, N), (B, R, N, K)


class Sample:
    """y_0 ~ softmax(logits / temperature), from the fewest classes of total probability top_p."""

    def __init__(self, temperature: float, top_p: float) -> None:
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> hard labels."""
        # Before the nucleus, which the temperature thus widens or narrows too.
        logits = logits / self.temperature
        if self.top_p < 1:
            probability, order = logits.softmax(-1).sort(dim=-1, descending=True)
            # (B, R, N, K): what the more probable classes sum to. Without its own share, so that
            # the first class is always inside and the one that crosses top_p is too.
            before = probability.cumsum(-1) - probability
            outside = torch.zeros_like(before, dtype=torch.bool)
            outside = outside.scatter(-1, order, before >= self.top_p)  # back in class order
            logits = logits.masked_fill(outside, -torch.inf)
        return draw_labels(logits, generator)
