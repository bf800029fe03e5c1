"""Training times on a grid of T steps, as the paper prints them."""

from __future__ import annotations

from torch import Tensor, nn

from addkit.timesteps.settings import DiscreteConfig


class DiscreteTimes(nn.Module):
    r"""t = ceil(T u^p) / T, so that t ~ U{1/T, ..., T/T} for p = 1 (section 3.2).

    Rounding up the continuous t raises it by less than 1 / T and so lowers alpha_bar by at most
    max|d alpha_bar / dt| / T. One row in T is at exactly t = T, which continuous times never reach.

    Args:
        config: T.
        t_power: p, the schedule's.
    """

    def __init__(self, config: DiscreteConfig, t_power: float) -> None:
        super().__init__()
        self.steps, self.power = config.steps, t_power

    def forward(self, u: Tensor) -> Tensor:
        """Any shape, in [0, 1] -> t of the same shape, a multiple of 1 / T; 0 for u = 0 alone."""
        return (self.steps * u**self.power).ceil() / self.steps

    def learn(self, t: Tensor, losses: Tensor, weights: Tensor) -> None:
        """The grid is fixed."""
