"""Votes of several chains."""

from __future__ import annotations

from torch import Tensor

from addkit.read_outs.last import Last, votes


class Vote(Last):
    """p_k = (n_k + 1/K) / (S + 1), n_k of the S chains ending at k.

    The prior vote spread over all classes keeps the log-likelihood of an unvoted class finite.
    """

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, R, N, K) of the last step -> (B, N, K)."""
        chains, num_classes = logits.shape[1], logits.shape[-1]
        return (votes(logits) * chains + 1 / num_classes) / (chains + 1)
