"""What samplers have in common whose tokens all follow one path of noise levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor


class SharedTime:
    """Starts from noise and re-noises all tokens alike; subclasses change what they change."""

    start: Literal["noise", "zero"] = "noise"
    carries_state = False
    draws = False
    noiseless = False
    anneals = False
    order: Callable[[Tensor, Tensor, torch.Generator], Tensor] | None = None

    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """r = 0: nothing of the old noise."""
        return torch.zeros_like(m_s)


class Refine(SharedTime):
    """From y_T = 0, y_s = b sqrt(alpha_bar_s) y_0 without any noise: the same answer each time.

    With the exact denoiser five such steps come within a point of the joint mode, where the noisy
    loop drifts to draws (docs/method.md).
    """

    start: Literal["noise", "zero"] = "zero"
    noiseless = True
