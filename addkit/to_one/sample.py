"""A label drawn from the predicted distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.randomness import draw_labels
from addkit.plugin.values import Clean


class Sample:
    """y_0 ~ softmax(logits / temperature), within the nucleus of share top_p."""

    def __init__(self, temperature: float, top_p: float) -> None:
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        """(B, R, N, K) -> hard labels."""
        logits = logits / self.temperature
        if self.top_p < 1:  # sorting K classes costs more than the draw
            probability, order = logits.softmax(-1).sort(dim=-1, descending=True)
            # Without its own share, so that the class which reaches top_p is in the nucleus.
            before = probability.cumsum(-1) - probability  # (B, R, N, K), in falling order
            # Scattered back from the falling order to the order of the classes.
            outside = torch.zeros_like(before, dtype=torch.bool)
            outside.scatter_(-1, order, before >= self.top_p)
            logits = logits.masked_fill(outside, -torch.inf)
        return draw_labels(logits, generator)
