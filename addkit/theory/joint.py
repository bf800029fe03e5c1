r"""The exact answer where images are told apart one by one and few combinations are allowed.

Setting: N parts x_1, ..., x_N of an image depend each on its own label alone, and the labels y are
one of M allowed combinations. Then

.. math:: p(y \mid x) \propto p(y) \prod_n p(x_n \mid y_n)

Letters in shapes: B images, R chains, N tokens, K classes, M combinations. Everything is float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from addkit.diffusion.noise import log_likelihood_scale

_LEAST = torch.finfo(torch.float64).tiny
"""Probability of the impossible, so that its logarithm (-708) is finite."""


def fused(log_likelihoods: Tensor, combinations: Tensor, log_prior: Tensor | None = None) -> Tensor:
    """Log p(combination | x), (B, M).

    Args:
        log_likelihoods: log p(x_n | k) up to a number for each (image, token), (B, N, K): a
            classifier's log p(k | x_n) where it was trained on equally frequent classes.
        combinations: (M, N) class ids.
        log_prior: log p(combination), (M,); None: all the same.
    """
    tokens = torch.arange(combinations.shape[1])
    scores = log_likelihoods.double()[:, tokens, combinations].sum(-1)
    return (scores if log_prior is None else scores + log_prior).log_softmax(-1)


def most_probable(log_joint: Tensor, combinations: Tensor) -> Tensor:
    """The joint MAP, the best exact match there can be: log p (..., M) -> (..., N)."""
    return combinations[log_joint.argmax(-1)]


def draw(log_joint: Tensor, combinations: Tensor, generator: torch.Generator) -> Tensor:
    """One draw of all labels at once from p(y | x): log p (B, M) -> (B, N)."""
    chosen = torch.multinomial(log_joint.exp(), 1, generator=generator)[:, 0]
    return combinations[chosen]


def marginals(log_joint: Tensor, combinations: Tensor, num_classes: int) -> Tensor:
    """Log p(y_n = k | x), what one shot can know: log p (..., M) -> (..., N, K)."""
    hot = one_hot(combinations, num_classes).double()
    return torch.einsum("...m,mnk->...nk", log_joint.exp(), hot).clamp_min(_LEAST).log()


def given(log_joint: Tensor, combinations: Tensor, labels: Tensor) -> Tensor:
    """Log p(combination | x, known labels), (B, M); labels (B, N) are -1 where not known.

    Where no combination has all of the known labels, the answer is NaN.
    """
    known = labels[:, None, :]
    fits = ((combinations == known) | (known < 0)).all(-1)
    return log_joint.masked_fill(~fits, -torch.inf).log_softmax(-1)


def denoised(
    log_joint: Tensor, combinations: Tensor, y_t: Tensor, alpha_bar: Tensor, scale: float = 1.0
) -> Tensor:
    r"""The exact denoiser log p(y_n = k | y_t, x) of all tokens, (B, R, N, K).

    A combination's log-probability grows by :math:`\sum_n c_{t,n}\, y_{t,n}[k_n]`, the evidence
    of every token's state (`addkit.diffusion.noise.evidence`).

    Args:
        log_joint: see `fused`, (B, M).
        combinations: (M, N).
        y_t: (B, R, N, K).
        alpha_bar: broadcastable to (B, R, N).
        scale: b.
    """
    evident = log_likelihood_scale(alpha_bar.double(), scale).unsqueeze(-1) * y_t.double()
    tokens = torch.arange(combinations.shape[1])
    scores = log_joint[:, None] + evident[:, :, tokens, combinations].sum(-1)
    return marginals(scores.log_softmax(-1), combinations, y_t.shape[-1])


def is_allowed(labels: Tensor, combinations: Tensor) -> Tensor:
    """Which label rows are on the list: (..., N) -> (...), bool."""
    return (labels.unsqueeze(-2) == combinations).all(-1).any(-1)
