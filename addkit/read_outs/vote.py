"""Votes of several chains."""

from __future__ import annotations

from torch import Tensor

from addkit.read_outs.last import Ending, Last


class Vote(Last):
    """p_k = (n_k + 1/K) / (S + 1), n_k of the S chains ending at k.

    The prior vote spread over all classes keeps the log-likelihood of an unvoted class finite.
    """

    def probabilities(self, end: Ending) -> Tensor:
        """(B, N, K) of the answer."""
        chains, num_classes = end.step.logits.shape[1], end.step.logits.shape[-1]
        # (B, N, K): `votes` are shares, so times S they are counts.
        return (end.votes * chains + 1 / num_classes) / (chains + 1)
