"""The cosine schedule."""

from __future__ import annotations

import math

from torch import Tensor

from addkit.schedules.settings import CosineConfig


class CosineSchedule:
    """alpha_bar(t) = f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) pi / 2); 0 at t = 1."""

    def __init__(self, config: CosineConfig) -> None:
        self.scale, self.t_power = config.scale, config.t_power
        self.offset = config.offset

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t, in [0, 1]."""
        quarter = 0.5 * math.pi / (1 + self.offset)
        start = math.cos(self.offset * quarter) ** 2  # f(0)
        # Rounding may leave [0, 1] at the ends.
        return (((t + self.offset) * quarter).cos().square() / start).clamp(0.0, 1.0)
