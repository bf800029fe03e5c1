"""The adaLN MLP denoiser, and the time embedding that the transformer has, too."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from addkit.denoisers.settings import MlpConfig
from addkit.diffusion.model import zero_linear
from addkit.plugin.values import Layout

FREQUENCIES = 256
"""Size of the sinusoidal code (DiT, MAR)."""


class MlpDenoiser(nn.Module):
    """Residual MLP blocks on h, modulated by time and condition (Li et al. 2024's head).

    Args:
        config: sizes.
        condition_width: V; the condition has one token.
    """

    uses_state = True
    self_condition = 0.0

    def __init__(self, config: MlpConfig, condition_width: int) -> None:
        super().__init__()
        self.width, self.bayes_skip = config.width, config.bayes_skip
        self.time = TimeEmbedding(config.width) if config.time else None
        self.condition = nn.Linear(condition_width, config.width)
        self.state = nn.Linear(config.width, config.width)
        self.blocks = nn.ModuleList(
            MlpBlock(config.width, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, V) -> (B, 1, 1, D), ready to broadcast over copies and tokens."""
        return (self.condition(condition).unsqueeze(1),)  # (B, 1, V) -> (B, 1, 1, D)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        """H (B, R, N, D), t broadcastable to (B, R, N) -> features (B, R, N, D).

        The condition also enters the sum: adaLN alone would be silent at the start.
        """
        # (B, 1, 1, D) + (B, R, N, D) or less: broadcasts to the shape of h.
        condition = prepared[0] if self.time is None else prepared[0] + self.time(t)
        drive = functional.silu(condition)
        x = self.state(h) + condition
        for block in self.blocks:
            x = block(x, drive)
        normed: Tensor = self.norm(x)
        return normed


class MlpBlock(nn.Module):
    """x + gate * MLP(modulated norm of x)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        # Zero at the start, so that each block begins as the identity (adaLN-zero).
        self.modulation = zero_linear(width, 3 * width)

    def forward(self, x: Tensor, drive: Tensor) -> Tensor:
        """X (..., D) and drive, broadcastable to it -> (..., D)."""
        # Each (..., D), by the condition and the time.
        shift, scale, gate = self.modulation(drive).chunk(3, -1)
        out: Tensor = x + gate * self.mlp(torch.addcmul(shift, self.norm(x), 1 + scale))
        return out


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
