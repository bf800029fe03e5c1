"""Read-outs that choose among whole answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

from addkit.plugin.values import Answer, ChainStep
from addkit.read_outs.last import Ending, ending


class WholeAnswers(ABC):
    """Ranks the chains' last labels; the answer is the first."""

    start: Literal["noise", "zero"] = "noise"
    max_steps: int | None = None

    def read(
        self, steps: Iterable[ChainStep], likelihood: Callable[[Tensor], Tensor] | None = None
    ) -> Answer:
        """Consume a chain."""
        end = ending(steps)
        scores = self.scores(end, likelihood)
        order = scores.argsort(dim=-1, descending=True, stable=True)
        candidates = _in_order(end.labels, order)  # (B, S, N)
        # Votes of the labels that are fed back, since those are the candidates.
        by_token = end.labels.transpose(1, 2)  # (B, N, S)
        share = torch.full(by_token.shape, 1 / by_token.shape[-1], device=by_token.device)
        votes = torch.zeros(end.mean.shape, device=share.device)  # (B, N, K)
        votes.scatter_add_(-1, by_token, share)
        return Answer(
            labels=candidates[:, 0],
            probabilities=end.mean,
            votes=votes,
            steps=end.taken,
            candidates=candidates,
            confidence=_in_order(end.confidence, order),
            scores=scores.gather(1, order),
        )

    @abstractmethod
    def scores(self, end: Ending, likelihood: Callable[[Tensor], Tensor] | None) -> Tensor:
        """(B, S), rising is better."""


class Consensus(WholeAnswers):
    """The chain that the others agree with most; of equal ones the one with the largest confidence.

    Uses no references. With many chains it is their mode. One chain is its own consensus.
    """

    def scores(self, end: Ending, likelihood: Callable[[Tensor], Tensor] | None) -> Tensor:
        """Mean agreement with the other chains, in [0, 1]."""
        sure = end.confidence.clamp_min(1e-30).log().mean(-1)
        if end.step.prior is not None:
            sure = sure + end.step.prior
        if end.labels.shape[1] == 1:
            return sure.exp()
        # Less its agreement with itself, 1.
        others = agreement(end.labels).sum(-1) - 1
        # Confidence is below 1, and this share of it below two agreements' difference.
        return others / (end.labels.shape[1] - 1) + 1e-6 * sure.exp().clamp(max=1)


class Likelihood(WholeAnswers):
    """The most probable of the chains' answers by the exact log p(labels | image).

    For networks that were trained to fill in tokens next to clean ones (`training.token_times`,
    masked and autoregressive processes).
    """

    def scores(self, end: Ending, likelihood: Callable[[Tensor], Tensor] | None) -> Tensor:
        """log p, in nats."""
        if likelihood is None:
            raise ValueError("this read-out needs the likelihood of whole answers")
        scores = likelihood(end.labels)
        return scores if end.step.prior is None else scores + end.step.prior


def agreement(labels: Tensor) -> Tensor:
    """Similarity of whole answers, (B, S, N) -> (B, S, S), in [0, 1].

    Half for being equal, a quarter each for the share of common tokens and of common pairs of
    neighbours (as multisets), so that shifted sentences count as similar too.
    """
    # (B, S, S), as all below.
    equal = (labels.unsqueeze(1) == labels.unsqueeze(2)).all(-1).double()
    # Two neighbours as one number, so that both are compared at once.
    pairs = labels[..., :-1] * (int(labels.max()) + 1) + labels[..., 1:]
    common = _common(labels) if labels.shape[-1] < 2 else (_common(labels) + _common(pairs)) / 2
    return (equal + common) / 2


def _common(items: Tensor) -> Tensor:
    """Share of items in common as multisets, (B, S, n) -> (B, S, S)."""
    # An item counts once for each time it stood before: the pair (item, rank) is a set's member.
    same = items.unsqueeze(-1) == items.unsqueeze(-2)
    rank = same.tril(-1).sum(-1)
    member = items * items.shape[-1] + rank
    first, second = member.unsqueeze(2).unsqueeze(-1), member.unsqueeze(1).unsqueeze(-2)
    return (first == second).any(-1).double().mean(-1)


def _in_order(values: Tensor, order: Tensor) -> Tensor:
    return values.gather(1, order.unsqueeze(-1).expand_as(values))
