"""The mean prediction of a chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from torch import Tensor

from addkit.plugin.values import Answer, ChainStep
from addkit.read_outs.last import Last


class Mean(Last):
    """p = mean over steps and chains of softmax(logits); steps after an early exit do not count."""

    def read(
        self, steps: Iterable[ChainStep], likelihood: Callable[[Tensor], Tensor] | None = None
    ) -> Answer:
        """Consume a chain."""
        total: list[Tensor] = []
        answer = super().read(_summed(steps, total), likelihood)
        probabilities = total[0] / answer.steps[:, None, None]
        return replace(answer, probabilities=probabilities, labels=probabilities.argmax(-1))


def _summed(steps: Iterable[ChainStep], total: list[Tensor]) -> Iterator[ChainStep]:
    """The same steps; `total` is the sum of their distributions over the images still there."""
    for step in steps:
        share = (~step.exited).float()[:, None, None] * step.logits.softmax(-1).mean(1)
        total[:] = [share if not total else total[0] + share]
        yield step
