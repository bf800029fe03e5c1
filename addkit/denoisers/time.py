"""The time embedding, and the modulation of features by it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 256
"""Size of the sinusoidal code (DiT, MAR)."""


class TimeEmbedding(nn.Module):
    """Sinusoids of 1000 t through a two-layer network, any shape of t -> (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Frequencies from 1 to 1e-4, half sines and half cosines."""
        half = FREQUENCIES // 2
        rates = torch.exp(-math.log(1e4) / half * torch.arange(half, device=t.device))
        # In float32 under autocast too: bfloat16 has three digits, and angles reach 1000.
        angles = 1000 * t.float().unsqueeze(-1) * rates  # (..., FREQUENCIES / 2)
        code = torch.cat([angles.cos(), angles.sin()], -1)
        out: Tensor = self.network(code)
        return out


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """The features x times (1 + scale), plus shift."""
    return torch.addcmul(shift, x, 1 + scale)
