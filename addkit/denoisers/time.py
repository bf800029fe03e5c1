"""The time embedding and the modulation that it drives."""

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
        angles = 1000 * t.float().unsqueeze(-1) * rates
        code = torch.cat([angles.cos(), angles.sin()], -1)
        out: Tensor = self.network(code)
        return out


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """X (1 + scale) + shift."""
    return torch.addcmul(shift, x, 1 + scale)
