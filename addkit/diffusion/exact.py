r"""Closed forms for one label, used as oracles.

Setting: y_0 given the image is drawn from p(k | x), and y_t = b sqrt(alpha_bar) y_0 + noise does
not depend on the image given y_0. m is the label signal-to-noise of `noise.signal_to_noise`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from addkit.diffusion.noise import log_likelihood_scale


def probability_arg_max(m: Tensor, num_classes: int, nodes: int = 4001) -> Tensor:
    r"""P(arg max_k y_t is the true label), between 1/K (m = 0) and 1.

    .. math:: P(m, K) = \int \phi(z - m)\,\Phi(z)^{K-1}\,dz

    Args:
        m: any shape, >= 0. Computed in float64 by the trapezoid rule on z in [m - 9, m + 9].
        num_classes: K >= 2.
        nodes: of the rule.
    """
    m = m.double().unsqueeze(-1)  # (..., 1)
    # Centred at the density's mode: beyond 9 standard deviations there is less than 1e-18.
    offset = torch.linspace(-9.0, 9.0, nodes, dtype=torch.float64)
    # In logs, since the power K - 1 of a small probability is no fp64 number.
    log_density = -0.5 * offset.square() - 0.5 * math.log(2 * math.pi)
    log_power = (num_classes - 1) * torch.special.log_ndtr(offset + m)
    # The rule may end a rounding above 1.
    return torch.trapezoid((log_density + log_power).exp(), offset, dim=-1).clamp(max=1.0)


def bayes_denoiser(log_prior: Tensor, y_t: Tensor, alpha_bar: Tensor, scale: float) -> Tensor:
    """The exact denoiser log softmax(log p(k | x) + c_t y_t) = log p(k | x, y_t), (..., K)."""
    return (log_prior + log_likelihood_scale(alpha_bar, scale).unsqueeze(-1) * y_t).log_softmax(-1)


def flip_probability(log_odds: Tensor, m: Tensor) -> Tensor:
    r"""Chance that one exact arg-max-and-re-noise step at m leaves guess i for j, K = 2.

    .. math:: P(i \to j) = \Phi\!\left(-\frac{D + m^2}{\sqrt2\,m}\right),
        \quad D = \log p_i - \log p_j
    """
    flips: Tensor = torch.special.ndtr(-(log_odds + m.square()) / (math.sqrt(2.0) * m))
    return flips


def gibbs_accuracy(posterior: Tensor) -> Tensor:
    """E sum_k p_k^2: what a chain drifts to when its steps grow, a draw from p(k | x)."""
    value: Tensor = posterior.square().sum(-1).mean()
    return value
