"""arg max + one-hot."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.plugin.values import Clean


class ArgMax:
    """y_0 = onehot(arg max_k p(k | y_t, c)) (section 3.2)."""

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> hard labels; the generator is not used."""
        return Clean(logits.argmax(-1))  # (B, R, N); the first class among equals
