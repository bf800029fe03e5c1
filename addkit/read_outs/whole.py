"""Read-outs that choose among whole answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

from torch import Tensor

from addkit.plugin.values import Answer, ChainStep
from addkit.read_outs.by_token import Ending, ending, shares


class WholeAnswers(ABC):
    """Ranks the chains' last labels; the answer is the first."""

    start: Literal["noise", "zero"] = "noise"
    max_steps: int | None = None

    def read(
        self, steps: Iterable[ChainStep], likelihood: Callable[[Tensor], Tensor] | None = None
    ) -> Answer:
        """Consume a chain."""
        end = ending(steps)
        scores = self.scores(end, likelihood)  # (B, S)
        # Stable, so that equals stay in the order of their chains on every device.
        order = scores.argsort(dim=-1, descending=True, stable=True)
        candidates, prior = _in_order(end.labels, order), end.step.prior
        return Answer(
            labels=candidates[:, 0],
            probabilities=end.mean,
            votes=shares(end.labels, end.step.logits.shape[-1]),
            steps=end.taken,
            candidates=candidates,
            confidence=_in_order(end.confidence, order),
            scores=scores.gather(1, order),
            prior=None if prior is None else prior.expand_as(order).gather(1, order),
        )

    @abstractmethod
    def scores(self, end: Ending, likelihood: Callable[[Tensor], Tensor] | None) -> Tensor:
        """(B, S), rising is better."""


class Consensus(WholeAnswers):
    """The chain that the others agree with most; among equals, the surest of itself.

    Reads no references. With many chains it is their mode. One chain is its own consensus.
    """

    def scores(self, end: Ending, likelihood: Callable[[Tensor], Tensor] | None) -> Tensor:
        """Mean agreement with the other chains, in [0, 1]."""
        # (B, S): the logarithm of the geometric mean of the tokens' probabilities.
        sure = end.confidence.clamp_min(1e-30).log().mean(-1)
        if end.step.prior is not None:
            sure = sure + end.step.prior
        if end.labels.shape[1] == 1:
            return sure.exp()
        others = agreement(end.labels).sum(-1) - 1  # (B, S), without itself
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
    neighbours (as multisets), so that a shifted sentence is similar too.
    """
    # (B, S, S). fp64, in which Consensus's 1e-6 is not rounded away.
    equal = (labels.unsqueeze(1) == labels.unsqueeze(2)).all(-1).double()
    # A pair as one number, in a base that no class reaches: (B, S, N - 1).
    pairs = labels[..., :-1] * (int(labels.max()) + 1) + labels[..., 1:]
    common = _common(labels) if labels.shape[-1] < 2 else (_common(labels) + _common(pairs)) / 2
    return (equal + common) / 2


def _common(items: Tensor) -> Tensor:
    """Share of items in common as multisets, (B, S, n) -> (B, S, S)."""
    # Multisets as sets: the k-th occurrence of an item is the member (item, k).
    same = items.unsqueeze(-1) == items.unsqueeze(-2)
    rank = same.tril(-1).sum(-1)  # (B, S, n): equal items before this one
    member = items * items.shape[-1] + rank
    # (B, S, 1, n, 1) against (B, 1, S, 1, n).
    first, second = member.unsqueeze(2).unsqueeze(-1), member.unsqueeze(1).unsqueeze(-2)
    return (first == second).any(-1).double().mean(-1)


def _in_order(values: Tensor, order: Tensor) -> Tensor:
    return values.gather(1, order.unsqueeze(-1).expand_as(values))
