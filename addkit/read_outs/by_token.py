"""Read-outs that answer token by token: the last step (the paper's), one pass, mean, votes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from addkit.plugin.values import Answer, ChainStep


class Last:
    """p = mean over chains of softmax(logits of the last step)."""

    start: Literal["noise", "zero"] = "noise"
    max_steps: int | None = None

    def read(
        self, steps: Iterable[ChainStep], likelihood: Callable[[Tensor], Tensor] | None = None
    ) -> Answer:
        """Consume a chain. Candidates are the chains in their order, scored by their own log p.

        The answer is each token's most probable class, or the first answer of a search.
        """
        end = ending(steps)
        probabilities = self.probabilities(end)  # (B, N, K)
        confidence, ranked = end.confidence, end.step.scores
        # (B, R): log p of a chain's whole answer under its own last step. The floor keeps the log
        # of a probability that has underflown finite.
        own = confidence.clamp_min(1e-30).log().sum(-1)
        return Answer(
            # A search ranks whole answers: tokens of different ones must not be mixed.
            labels=probabilities.argmax(-1) if ranked is None else end.labels[:, 0],
            probabilities=probabilities,
            votes=end.votes,
            steps=end.taken,
            candidates=end.labels,
            confidence=confidence,
            scores=own if ranked is None else ranked,
            prior=None if end.step.prior is None else end.step.prior.expand_as(own),
        )

    def probabilities(self, end: Ending) -> Tensor:
        """(B, N, K) of the answer."""
        return end.mean


@dataclass(frozen=True, slots=True)
class Ending:
    """How chains ended."""

    step: ChainStep
    """The last one."""
    taken: Tensor
    """(B,) steps."""
    labels: Tensor
    """(B, R, N): what each chain would have fed back."""
    confidence: Tensor
    """(B, R, N): each chain's own probability of each of its labels."""

    @property
    def mean(self) -> Tensor:
        """Mean over chains of the last distributions, or the search's own marginals, (B, N, K)."""
        if self.step.marginals is not None:
            return self.step.marginals
        return self.step.logits.softmax(-1).mean(1)

    @property
    def votes(self) -> Tensor:
        """(B, N, K): share of chains whose most probable class is k."""
        # Not the labels fed back, which a to-one operator may have drawn.
        return shares(self.step.logits.argmax(-1), self.step.logits.shape[-1])


def shares(labels: Tensor, num_classes: int) -> Tensor:
    """Share of the S labels with class k at each token, (B, S, N) -> (B, N, K)."""
    by_token = labels.transpose(1, 2)  # (B, N, S)
    # scatter_add, since a one-hot mean would need (B, S, N, K).
    counts = torch.zeros(*by_token.shape[:2], num_classes, device=labels.device)
    counts.scatter_add_(-1, by_token, torch.ones(by_token.shape, device=labels.device))
    # Whole numbers are summed, since a sum of thousands of shares exceeds 1.
    return counts / by_token.shape[-1]


def ending(steps: Iterable[ChainStep]) -> Ending:
    """The last step of chains, and how many each image took."""
    taken = torch.zeros(1, dtype=torch.long)
    last: ChainStep | None = None
    for last in steps:
        # (B,): an image that has stopped keeps its count.
        taken = torch.where(last.exited, taken.to(last.exited.device), last.index + 1)
    if last is None:
        raise ValueError("a read-out needs at least one step")
    labels, logits = last.clean.ids, last.logits
    # p = exp(logit - logsumexp), without the K-wide tensor that a softmax writes.
    picked = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)  # (B, R, N)
    return Ending(last, taken, labels, (picked - logits.logsumexp(-1)).exp())


class OnePass(Last):
    """p(k | y_T = 0, t = T, c).

    At t = T the exact denoiser is the classifier p(k | image), and no loop over one label can beat
    it; y_T = 0 spares it the noise of the first state.
    """

    start: Literal["noise", "zero"] = "zero"
    # More steps would leave t = T, where the answer is the classifier's.
    max_steps: int | None = 1


class Mean(Last):
    """p = mean over steps and chains of softmax(logits); steps after an early exit do not count."""

    def read(
        self, steps: Iterable[ChainStep], likelihood: Callable[[Tensor], Tensor] | None = None
    ) -> Answer:
        """Consume a chain."""
        sums: list[Tensor] = []

        def summed() -> Iterator[ChainStep]:
            for step in steps:
                present = (~step.exited).float()  # (B,)
                # (B, N, K), the mean over chains; 0 for images that have stopped.
                share = present[:, None, None] * step.logits.softmax(-1).mean(1)
                # Sums, not a list of steps: memory does not grow with the chain.
                sums[:] = [share, present] if not sums else [sums[0] + share, sums[1] + present]
                yield step

        answer = super().read(summed(), likelihood)
        # Counted here, since a sampler may yield fewer steps than it takes.
        probabilities = sums[0] / sums[1][:, None, None]
        return replace(answer, probabilities=probabilities, labels=probabilities.argmax(-1))


class Vote(Last):
    """p_k = (n_k + 1/K) / (S + 1), n_k of the S chains ending at k.

    The prior vote spread over all classes keeps the log-likelihood of an unvoted class finite.
    """

    def probabilities(self, end: Ending) -> Tensor:
        """(B, N, K) of the answer."""
        chains, num_classes = end.step.logits.shape[1], end.step.logits.shape[-1]
        # (B, N, K): `votes` are shares, so times S they are counts.
        return (end.votes * chains + 1 / num_classes) / (chains + 1)
