"""Draws from a categorical distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.results import Clean


def draw_labels(logits: Tensor, generator: torch.Generator) -> Clean:
    """One hard label from softmax(logits), (..., K) -> (...), by the Gumbel maximum in fp64.

    fp32 uniforms cut the Gumbel's upper tail, which silently lowers the temperature.
    """
    uniform = torch.rand(
        logits.shape, generator=generator, device=logits.device, dtype=torch.float64
    )
    gumbel = -torch.log(-torch.log(uniform.clamp_min(torch.finfo(torch.float64).tiny)))
    return Clean((logits.double() + gumbel).argmax(-1))
