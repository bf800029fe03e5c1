"""The mean prediction of a chain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch

from addkit.diffusion.results import Answer, ChainStep
from addkit.read_outs.last import votes


class Mean:
    """p = mean over steps and chains of softmax(logits); steps after an early exit do not count."""

    start: Literal["noise", "zero"] = "noise"
    max_steps: int | None = None

    def read(self, steps: Iterable[ChainStep]) -> Answer:
        """Consume a chain."""
        taken, total, logits = torch.empty(0), torch.empty(0), torch.empty(0)
        for index, step in enumerate(steps):
            logits, counts = step.logits, (~step.exited).long()
            share = counts[:, None, None] * logits.softmax(-1).mean(1)
            taken, total = (counts, share) if index == 0 else (taken + counts, total + share)
        return Answer(total / taken[:, None, None], votes(logits), taken)
