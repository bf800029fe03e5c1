"""The label diffusion network around its components. It knows tokens, not images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from addkit.diffusion.process import evidence, noised
from addkit.diffusion.results import Clean

if TYPE_CHECKING:
    from addkit.plugin.protocols import Conditioner, Denoiser, Embedding, Loss, Schedule

__all__ = ["LabelDiffusion", "State"]


@dataclass(frozen=True, slots=True)
class State:
    """Noisy labels as the network sees them."""

    h: Tensor
    """Embedded state (B, R, N, D)."""
    y_t: Tensor | None = None
    """(B, R, N, K), where somebody needs it."""
    noise: Tensor | None = None
    """eps, same shape, where y_t is held."""

    def select(self, images: Tensor) -> State:
        """The state of these images, in this order."""
        return self._map(lambda x: x[images])

    def twice(self) -> State:
        """The same state for the conditional and the unconditional branch, (2B, R, N, ...)."""
        return self._map(lambda x: torch.cat([x, x]))

    def _map(self, change: Callable[[Tensor], Tensor]) -> State:
        y_t, noise = (None if x is None else change(x) for x in (self.y_t, self.noise))
        return State(change(self.h), y_t, noise)


class LabelDiffusion(nn.Module):
    """p(y_0 | y_t, c) = softmax(f(y_t, t, c)): conditioner, embedding, denoiser and output layer.

    Args:
        conditioner: encoder tokens -> condition.
        embedding: noisy label -> h; None where the denoiser ignores the state.
        denoiser: (h, t, condition) -> features.
        schedule: alpha_bar(t) and the input scale b.
        loss: what the K outputs stand for.
        num_classes: K.
        num_tokens: N, labels of one image.
    """

    null: nn.Parameter
    """The learned condition of "no image", (V,)."""

    def __init__(
        self,
        *,
        conditioner: Conditioner,
        embedding: Embedding | None,
        denoiser: Denoiser,
        schedule: Schedule,
        loss: Loss,
        num_classes: int,
        num_tokens: int = 1,
    ) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.embedding = embedding
        self.denoiser = denoiser
        self.output = nn.Linear(denoiser.width, num_classes)
        self.null = nn.Parameter(torch.randn(conditioner.width) * 0.02)
        self.schedule = schedule
        self.loss = loss
        self.num_classes = num_classes
        self.num_tokens = num_tokens
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @property
    def holds_state(self) -> bool:
        """True if something after the embedding needs y_t itself, so that `draw` cannot serve."""
        return self.denoiser.bayes_skip or self.loss.predicts == "noise"

    def condition(self, tokens: Tensor) -> Tensor:
        """Encoder tokens (B, L, W) -> condition (B, C, V)."""
        return self.conditioner(tokens)

    def null_condition(self, num_tokens: int) -> Tensor:
        """The learned "no image", (1, C, V)."""
        return self.null.expand(1, num_tokens, -1)

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """What depends on the condition alone, once for all reuse copies, steps and chains."""
        return self.denoiser.prepare(condition)

    def corrupt(
        self, clean: Clean, alpha_bar: Tensor, generator: torch.Generator, *, hold: bool = False
    ) -> State:
        """A freshly corrupted label. With `hold` (or where it is needed) y_t itself is kept.

        fp32 under autocast: noise and the Cholesky factor must not be rounded.
        """
        with torch.autocast(clean.ids.device.type, enabled=False):
            if self.embedding is None:
                return State(self.null.new_zeros(len(clean.ids), 1, clean.ids.shape[-1], 0))
            if clean.soft is None and not (hold or self.holds_state):
                return State(self.embedding.draw(clean.ids, alpha_bar, generator))
            shape = (*clean.ids.shape, self.num_classes)
            noise = torch.randn(shape, generator=generator, device=clean.ids.device)
            noisy = noised(clean.dense(self.num_classes), noise, alpha_bar, self.schedule.scale)
            return self.read(noisy.y_t, alpha_bar, noise)

    def read(self, y_t: Tensor, alpha_bar: Tensor, noise: Tensor | None = None) -> State:
        """A state that somebody holds."""
        if self.embedding is None:
            return State(y_t.new_zeros(len(y_t), 1, y_t.shape[2], 0), y_t, noise)
        return State(self.embedding.read(y_t, alpha_bar), y_t, noise)

    def forward(self, state: State, t: Tensor, prepared: tuple[Tensor, ...]) -> Tensor:
        """The K outputs in fp32, (B, R, N, K): logits, or an estimate where the loss is an MSE.

        With the Bayes skip the evidence is added: logits = log p(k | c) + c_t y_t.
        """
        outputs: Tensor = self.output(self.denoiser(state.h, t, prepared)).float()
        if self.denoiser.bayes_skip and state.y_t is not None:
            alpha_bar = self.schedule.alpha_bar(t)
            outputs = outputs + evidence(alpha_bar, self.schedule.scale).unsqueeze(-1) * state.y_t
        return outputs
