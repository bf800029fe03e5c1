"""The embedding of tokens that are either clean or masked."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """h = E[y] for a token without noise (alpha_bar > 0), a learned mask for a masked one.

    For processes whose noise levels are 0 and T alone, such as masked diffusion.

    Args:
        num_classes: K.
        state_width: D.
        scale: b of the schedule.
        spread: standard deviation of the rows of E and of the mask at the start.
    """

    def __init__(self, num_classes: int, state_width: int, scale: float, *, spread: float) -> None:
        super().__init__()
        self.scale = scale
        weight = nn.init.normal_(torch.empty(num_classes, state_width), std=spread)
        self.weight = nn.Parameter(weight)
        self.mask = nn.Parameter(nn.init.normal_(torch.empty(state_width), std=spread))

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """A given label without noise, b y_0 (B, R, N, K), -> (B, R, N, D)."""
        # Divided by b, so that `read` and `draw` give the same row of E.
        clean = y_t @ self.weight / self.scale
        return torch.where(alpha_bar.unsqueeze(-1) > 0, clean, self.mask)

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        """Labels (B, R, N) -> (B, R, N, D); draws nothing."""
        return torch.where(alpha_bar.unsqueeze(-1) > 0, self.weight[labels], self.mask)
