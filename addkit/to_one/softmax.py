"""The softmax fed back as a soft label."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.plugin.values import Clean


class Softmax:
    """y_0 = softmax(logits / temperature) (table 2)."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> soft labels; the generator is not used."""
        # (B, R, N, K). A soft label has no `draw`: y_t is noised K-wide.
        soft = (logits / self.temperature).softmax(-1)
        return Clean(soft.argmax(-1), soft)  # (B, R, N), (B, R, N, K)
