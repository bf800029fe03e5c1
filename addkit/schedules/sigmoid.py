"""The sigmoid schedule."""

from __future__ import annotations

import math

from torch import Tensor

from addkit.schedules.settings import SigmoidConfig


class SigmoidSchedule:
    r"""alpha_bar(t) = (v_1 - v_t) / (v_1 - v_0), v_t = sigmoid((start + t (end - start)) / tau)."""

    def __init__(self, config: SigmoidConfig) -> None:
        self.scale, self.t_power = config.scale, config.t_power
        self.start, self.span, self.tau = config.start, config.end - config.start, config.tau
        ends = (config.start, config.end)
        self.first, self.last = (1 / (1 + math.exp(-x / config.tau)) for x in ends)  # v_0, v_1

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t, in [0, 1]."""
        # From v_0 at t = 0 to v_1 at t = 1; stretched, so that the ends are exactly 1 and 0.
        value = ((self.start + t * self.span) / self.tau).sigmoid()
        return ((self.last - value) / (self.last - self.first)).clamp(0.0, 1.0)
