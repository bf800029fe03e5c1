"""The linear-beta schedule."""

from __future__ import annotations

from torch import Tensor

from addkit.schedules.settings import LinearConfig


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
