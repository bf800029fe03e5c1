"""The K-aware schedule."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from addkit.diffusion.exact import probability_arg_max
from addkit.diffusion.noise import alpha_bar_at
from addkit.schedules.settings import LabelAccuracyConfig

POINTS = 2048
"""Table size: P is smooth, linear interpolation is then right to 1e-5."""

EARLIEST = 1e-6
"""Before this time alpha_bar stays what it is: m would be infinite at t = 0."""


class LabelAccuracySchedule:
    r"""alpha_bar(t) such that P(arg max_k y_t is y_0) = 1 - (1 - 1/K) t.

    P depends on (m, K) alone (`theory.probability_arg_max`); the table inverts it, and
    alpha_bar = m^2 / (b^2 + m^2).
    """

    def __init__(self, config: LabelAccuracyConfig, num_classes: int) -> None:
        self.scale, self.t_power = config.scale, config.t_power
        self.t, self.m = _table(num_classes)  # (POINTS or less,) each, fp64

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t, in [0, 1)."""
        times, levels = self.t.to(t.device), self.m.to(t.device)
        # Linear between the two knots around t.
        right = torch.searchsorted(times, t.double().contiguous()).clamp(1, len(times) - 1)
        left = right - 1
        # Neighbours of the table may be equal in fp64 where P is flat.
        width = (times[right] - times[left]).clamp_min(1e-12)
        share = ((t - times[left]) / width).clamp(0.0, 1.0)
        return alpha_bar_at(torch.lerp(levels[left], levels[right], share), self.scale).to(t)


@functools.cache
def _table(num_classes: int) -> tuple[Tensor, Tensor]:
    """Rising times and the m of each."""
    # From no signal to m = 16, where P is 1 to fp64 for any K of interest.
    m = torch.cat([torch.zeros(1), torch.logspace(-3, 1.2, POINTS - 1)]).double()
    probability = probability_arg_max(m, num_classes)
    t = (1 - probability) / (1 - 1 / num_classes)
    finite = t >= EARLIEST
    # m falls with t, and `searchsorted` needs rising times.
    return t[finite].flip(0), m[finite].flip(0)
