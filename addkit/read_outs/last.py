"""The last step's prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
        probabilities = self.probabilities(end)
        confidence, ranked = end.confidence, end.step.scores
        # log 0 is -inf: captions with one such token would all tie.
        own = confidence.clamp_min(1e-30).log().sum(-1)
        return Answer(
            labels=probabilities.argmax(-1) if ranked is None else end.labels[:, 0],
            probabilities=probabilities,
            votes=end.votes,
            steps=end.taken,
            candidates=end.labels,
            confidence=confidence,
            scores=own if ranked is None else ranked,
        )

    def probabilities(self, end: Ending) -> Tensor:
        """(B, N, K) of the answer."""
        return end.mean


@dataclass(frozen=True, slots=True)
class Ending:
    """The last state of chains."""

    step: ChainStep
    """The last one."""
    taken: Tensor
    """(B,) steps."""

    @property
    def labels(self) -> Tensor:
        """(B, R, N): what each chain would have fed back."""
        return self.step.clean.ids

    @property
    def mean(self) -> Tensor:
        """Mean over chains of the last distributions, (B, N, K)."""
        return self.step.logits.softmax(-1).mean(1)

    @property
    def confidence(self) -> Tensor:
        """(B, R, N): each chain's own probability of each of its labels."""
        logits = self.step.logits
        picked = logits.gather(-1, self.labels.unsqueeze(-1)).squeeze(-1)  # (B, R, N)
        return (picked - logits.logsumexp(-1)).exp()

    @property
    def votes(self) -> Tensor:
        """(B, N, K): share of chains whose most probable class is k."""
        # (B, R, N) -> (B, N, R): votes are counted over chains.
        best = self.step.logits.argmax(-1).transpose(1, 2)
        share = torch.full(best.shape, 1 / best.shape[-1], device=best.device)  # 1 / R each
        counts = torch.zeros(*best.shape[:2], self.step.logits.shape[-1], device=best.device)
        return counts.scatter_add(-1, best, share)


def ending(steps: Iterable[ChainStep]) -> Ending:
    """The last step of chains, and how many each image took."""
    taken = torch.zeros(1, dtype=torch.long)
    last: ChainStep | None = None
    for last in steps:
        # An image that has left the loop keeps the number of steps it took.
        taken = torch.where(last.exited, taken.to(last.exited.device), last.index + 1)
    if last is None:
        raise ValueError("a read-out needs at least one step")
    return Ending(last, taken)
