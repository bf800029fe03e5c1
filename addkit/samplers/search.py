"""The end of a search over whole answers: ranked candidates and the marginals that they imply."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from addkit.plugin.values import FORBIDDEN, ChainStep, Clean

SHARE = 0.02
"""Weight of the candidates' own conditionals in the marginals: a search misses answers, and a
value that no candidate has must not get probability 0."""


def marginals_of(labels: Tensor, logits: Tensor, log_weights: Tensor) -> Tensor:
    r"""Marginals of weighted candidates, (B, N, K), rows sum to 1.

    .. math::
        p(y_n = k) = \sum_s w_s \left[(1 - \epsilon)\, 1(y_{s,n} = k)
                     + \epsilon\, p_s(y_n = k)\right]

    Args:
        labels: candidates (B, S, N).
        logits: that settled each token, (B, S, N, K): p_s is their softmax.
        log_weights: log w up to a constant, (B, S).
    """
    own = logits.softmax(-1)
    hot = one_hot(labels, own.shape[-1]).to(own.dtype)
    share = log_weights.softmax(-1)
    marginals: Tensor = torch.einsum("bs,bsnk->bnk", share, torch.lerp(hot, own, SHARE))
    return marginals


def ranked(
    labels: Tensor,
    logits: Tensor,
    scores: Tensor,
    marginals: Tensor | None = None,
    prior: Tensor | None = None,
) -> ChainStep:
    """The last step of a search, the best candidate first.

    Args:
        labels: candidates (B, S, N); where fewer answers are possible, the best one fills up.
        logits: that settled each token, (B, S, N, K).
        scores: log p of the candidates up to a constant, (B, S).
        marginals: (B, N, K), see `marginals_of`.
        prior: see `ChainStep`.
    """
    batch, count, num_tokens = labels.shape
    scores = scores.masked_fill(scores < FORBIDDEN / 2, -torch.inf)
    best, order = scores.sort(dim=-1, descending=True, stable=True)
    best, order = (torch.where(best.isneginf(), x[:, :1], x) for x in (best, order))
    labels = labels.gather(1, order.unsqueeze(-1).expand_as(labels))
    logits = logits.gather(1, order[..., None, None].expand_as(logits))
    return ChainStep(
        num_tokens - 1,
        1 / num_tokens,
        logits,
        Clean(labels),
        torch.zeros(batch, dtype=torch.bool, device=labels.device),
        prior=None if prior is None else prior.expand(batch, count),
        scores=best,
        marginals=marginals,
    )
