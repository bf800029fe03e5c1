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
