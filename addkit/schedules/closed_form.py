"""Schedules in closed form: linear beta (DDPM, the paper's), cosine and sigmoid."""

from __future__ import annotations

import math

from torch import Tensor

from addkit.schedules.settings import CosineConfig, LinearConfig, SigmoidConfig


class LinearSchedule:
    r"""alpha_bar(t) = exp(-beta_min t - (beta_max - beta_min) t^2 / 2); 4.3e-5 at t = 1.

    The continuous limit of Ho et al. 2020 (Song et al. 2021, equation 33).
    """

    def __init__(self, config: LinearConfig) -> None:
        self.scale, self.t_power = config.scale, config.t_power
        # Per unit of t, a thousand times the betas of 1,000 steps.
        self.beta_min, self.slope = config.beta_min, config.beta_max - config.beta_min

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t, in (0, 1]."""
        # The integral of beta from 0 to t.
        return (-(self.beta_min * t + 0.5 * self.slope * t.square())).exp()


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
