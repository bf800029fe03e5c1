"""Training times that are learnt from the loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from addkit.timesteps.settings import WarpedConfig

LEAST_RISE = 1e-3
"""Nats. A loss that rises by less from t = 0 to t = 1, as one that is rounding, leaves t even."""


class WarpedTimes(nn.Module):
    r"""t = F^{-1}(u), so that the cross-entropy L rises evenly in u (time warping).

    .. math:: F(t) = (1 - f) \frac{L(t) - L(0)}{L(1) - L(0)} + f t

    Dieleman et al. 2022 (CDCD, arXiv 2211.15089), where L is fitted by gradient descent with
    weights 1 / F'(t) against its own choice of times. Here L is linear between evenly spaced
    knots: the mean loss of tokens around each, which needs no such weights, made to rise by
    isotonic regression. Losses of old steps are forgotten exponentially, but never below the
    weight of one token. Nothing is drawn: what is learnt depends on the tokens alone.

    Args:
        config: number of pieces, forgetting, and f.
        num_classes: K; L starts as log K t^(1 / t_power), the map hence about as u ** t_power.
        t_power: the schedule's.
    """

    loss: Tensor
    """L at the knots before it is made to rise, (bins + 1,), nats."""
    weight: Tensor
    """Tokens behind each, with the same forgetting, (bins + 1,), at least 1."""
    knots: Tensor
    """Times 0, 1 / bins, ..., 1."""

    def __init__(self, config: WarpedConfig, num_classes: int, t_power: float) -> None:
        super().__init__()
        self.floor = config.floor
        self.decay = 0.5 ** (1 / config.half_life)
        knots = torch.linspace(0, 1, config.bins + 1)
        self.register_buffer("knots", knots, persistent=False)
        # In the state dict: what was learnt belongs to a checkpoint.
        self.register_buffer("loss", math.log(num_classes) * knots ** (1 / t_power))
        self.register_buffer("weight", torch.ones_like(knots))

    def forward(self, u: Tensor) -> Tensor:
        """Any shape, in [0, 1] -> t of the same shape, rising from 0 to 1."""
        levels, knots = self.levels(), self.knots.double()
        # Linear between the two levels around u; in fp64, since neighbours may be close.
        right = torch.searchsorted(levels, u.double().contiguous()).clamp(1, len(knots) - 1)
        left = right - 1
        share = ((u - levels[left]) / (levels[right] - levels[left])).clamp(0.0, 1.0)
        return torch.lerp(knots[left], knots[right], share).to(u)

    def levels(self) -> Tensor:
        """F at the knots, (bins + 1,), fp64, strictly rising from 0 to 1."""
        loss = isotonic(self.loss.double(), self.weight.double())
        rise = loss - loss[0]  # (bins + 1,), from 0
        share = rise / rise[-1].clamp_min(LEAST_RISE)
        # A share `floor` of t itself: where L is flat, F would otherwise have no inverse.
        levels = torch.lerp(share, self.knots.double(), self.floor)
        return levels / levels[-1]

    @torch.no_grad()
    def learn(self, t: Tensor, losses: Tensor, weights: Tensor) -> None:
        """One optimizer step's tokens, (tokens,) each; a token counts for its two nearest knots."""
        bins = len(self.knots) - 1
        knots = torch.arange(bins + 1, device=t.device)
        # (tokens, bins + 1): hat functions, linear from 1 at a knot to 0 at its neighbours.
        near = (1 - (t.unsqueeze(-1) * bins - knots).abs()).clamp_min(0)
        near = near * weights.unsqueeze(-1)
        weight = near.sum(0)
        # At least one token's weight: a knot that no token comes near keeps its loss.
        self.weight.mul_(self.decay).add_(weight).clamp_min_(1.0)
        self.loss.add_((losses @ near - weight * self.loss) / self.weight)


def isotonic(values: Tensor, weights: Tensor) -> Tensor:
    r"""The rising sequence that is closest to the values in weighted squares, (n,).

    .. math:: x_j = \max_{a \le j} \min_{b \ge j} mean(a, ..., b)

    The max-min formula (Robertson, Wright and Dykstra 1988): O(n^2), without a loop.

    Args:
        values: (n,).
        weights: (n,), above 0.
    """
    ones = torch.ones(len(values), len(values), dtype=values.dtype, device=values.device)
    # As products: a cumulative sum on a GPU need not be the same twice.
    total, summed = ones.tril() @ weights, ones.tril() @ (weights * values)
    before, least = total - weights, summed - weights * values
    means = (summed - least.unsqueeze(1)) / (total - before.unsqueeze(1))
    backwards = ones.tril(-1).bool()
    # (a, b): the mean of a..b, where a <= b; b runs over columns, a over rows.
    means = means.masked_fill(backwards, math.inf)
    # min over b >= j for each (a, j), then max over a <= j.
    lowest = means.flip(1).cummin(1).values.flip(1)
    return lowest.masked_fill(backwards, -math.inf).amax(0)
