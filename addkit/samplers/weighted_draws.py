"""Importance sampling of whole answers under soft evidence, from left to right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from addkit.diffusion.randomness import draw_labels
from addkit.errors import UsageError
from addkit.plugin.protocols import Chain
from addkit.plugin.values import ChainStep
from addkit.samplers.autoregressive import KeyValues
from addkit.samplers.search import marginals_of, ranked


class WeightedDraws:
    r"""Draws answers from left to right and weighs them by soft evidence L.

    Unbiased draws y ~ p(y | x) have the weight exp(sum_n L_n(y_n)). Biased ones are drawn with
    their evidence, q(y_n) prop. to p(y_n | y_<n, x) exp(L_n(y_n)), and weighted by what that leaves
    over:

    .. math:: w = \prod_n \sum_k p(k \mid y_{<n}, x) \exp(L_n(k))

    Args:
        draws: answers drawn for each image.
        biased: draw under the evidence.
    """

    def __init__(self, draws: int = 64, biased: bool = True) -> None:
        self.draws, self.biased = draws, biased

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """One step: the answers, by falling log p(y | x) + sum_n L_n(y_n). Raises `UsageError` if
        the network reads noisy labels.
        """
        if chain.block != 0:
            raise UsageError(
                "weighted draws need a network that reads the clean tokens before each one"
            )
        batch, _, num_tokens = chain.shape
        num_classes, device = chain.model.num_classes, chain.generator.device
        # Evidence is added here: its weight is the normaliser that it leaves.
        memory = KeyValues.of(chain, replace(chain.settings, evidence=None), self.draws)
        labels = torch.zeros(batch, self.draws, num_tokens, dtype=torch.long, device=device)
        logits = torch.zeros(batch, self.draws, num_tokens, num_classes, device=device)
        weights, scores = (torch.zeros(batch, self.draws, device=device) for _ in range(2))
        evidence = chain.settings.evidence
        for index in range(num_tokens):
            log_p = memory.next_logits(labels, index).log_softmax(-1)[:, :, 0]  # (B, S, K)
            observed = torch.zeros_like(log_p)
            if evidence is not None:
                observed = evidence[:, :, index].expand_as(log_p)
            posterior = log_p + observed
            drawn = draw_labels(posterior if self.biased else log_p, chain.generator).ids  # (B, S)
            picked = drawn.unsqueeze(-1)
            if self.biased:
                weights = weights + posterior.logsumexp(-1)
            else:
                weights = weights + observed.gather(-1, picked).squeeze(-1)
            scores = scores + posterior.gather(-1, picked).squeeze(-1)
            labels[:, :, index] = drawn
            logits[:, :, index] = posterior
        yield ranked(labels, logits, scores, marginals_of(labels, logits, weights))
