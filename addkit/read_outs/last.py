"""The last step's prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from addkit.diffusion.results import Answer, ChainStep


class Last:
    """p = mean over chains of softmax(logits of the last step)."""

    start: Literal["noise", "zero"] = "noise"
    max_steps: int | None = None

    def read(self, steps: Iterable[ChainStep]) -> Answer:
        """Consume a chain."""
        taken, logits = torch.zeros(1, dtype=torch.long), torch.empty(0)
        for step in steps:
            taken, logits = taken.to(step.exited.device) + (~step.exited).long(), step.logits
        return Answer(self.probabilities(logits), votes(logits), taken)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, R, N, K) of the last step -> (B, N, K)."""
        return logits.softmax(-1).mean(1)


def votes(logits: Tensor) -> Tensor:
    """Share of chains whose arg max is each class, (B, R, N, K) -> (B, N, K)."""
    return functional.one_hot(logits.argmax(-1), logits.shape[-1]).float().mean(1)
