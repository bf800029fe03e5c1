"""The label diffusion network around its components. It knows tokens, not images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from addkit.diffusion.contracts import shaped
from addkit.diffusion.layers import zero_linear
from addkit.diffusion.process import log_likelihood_scale, noised
from addkit.diffusion.results import Clean, Layout
from addkit.diffusion.side_inputs import completed

if TYPE_CHECKING:
    from addkit.plugin.facts import Column, SideInputs
    from addkit.plugin.protocols import (
        Conditioner,
        Denoiser,
        Embedding,
        Loss,
        Process,
        Schedule,
        Timesteps,
    )


FORBIDDEN = -1e4
"""Logit of a class that a token cannot take: no probability in fp32, and no infinity."""


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
        return self._map(lambda x: x if len(x) == 1 else x[images])

    def twice(self) -> State:
        """The same state for the conditional and the unconditional branch, (2B, R, N, ...)."""
        return self._map(lambda x: torch.cat([x, x]))

    def _map(self, change: Callable[[Tensor], Tensor]) -> State:
        y_t, noise = (None if x is None else change(x) for x in (self.y_t, self.noise))
        return State(change(self.h), y_t, noise)


@dataclass(frozen=True, slots=True)
class NoisyBatch:
    """What a process shows the network in a training step, and which tokens count."""

    state: State
    t: Tensor
    """Broadcastable to (B, R, n), n tokens in the state."""
    alpha_bar: Tensor
    """Of the tokens to be predicted, broadcastable to (B, R, N)."""
    weights: Tensor | None = None
    """(B, R, N) of each token's loss; None: 1 everywhere."""
    norm: Tensor | None = None
    """Divides the weighted sum; None: the sum of the weights."""
    layout: Layout | None = None
    drawn: Tensor | None = None
    """Times of the answers, (B, R, N), as training draws them; None: they follow no such draw."""


class LabelDiffusion(nn.Module):
    """p(y_0 | y_t, c) = softmax(f(y_t, t, c)): conditioner, embedding, denoiser and output layer.

    Args:
        conditioner: encoder tokens -> condition.
        embedding: noisy label -> h; None where the denoiser ignores the state.
        denoiser: (h, t, condition) -> features.
        schedule: alpha_bar(t) and the input scale b.
        loss: what the K outputs stand for.
        process: how labels are hidden and found again.
        times: how training times are drawn; None: u ** schedule.t_power.
        num_classes: K.
        num_tokens: N, labels of one image.
        token_classes: of joint labels, the classes [start, stop) that each token can take.
        columns: what the conditioner may read beside the image.
        lengths: predict how many of the N tokens are real, from the condition.
        makers: kind -> name and package of each component that is not addkit's own.
    """

    null: nn.Parameter
    """The learned condition of "no image", (V,)."""
    forbidden: Tensor | None
    """(N, K), added to logits; None where every token can take every class."""

    def __init__(
        self,
        *,
        conditioner: Conditioner,
        embedding: Embedding | None,
        denoiser: Denoiser,
        schedule: Schedule,
        loss: Loss,
        process: Process,
        times: Timesteps | None = None,
        num_classes: int,
        num_tokens: int = 1,
        token_classes: Sequence[tuple[int, int]] = (),
        columns: Sequence[Column] = (),
        lengths: bool = False,
        plugin_names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.embedding = embedding
        self.denoiser = denoiser
        self.output = zero_linear(denoiser.width, num_classes)
        self.null = nn.Parameter(torch.randn(conditioner.width) * 0.02)
        self.schedule = schedule
        self.loss = loss
        self.process = process
        self.timesteps = times
        self.plugin_names = dict(plugin_names or {})
        self.num_classes = num_classes
        self.num_tokens = num_tokens
        self.columns = tuple(columns)
        self.memory = zero_linear(denoiser.width, denoiser.width) if self.remembers else None
        self.lengths = zero_linear(conditioner.width, num_tokens + 1) if lengths else None
        probe = torch.full((2, 1, num_tokens), 0.5)
        self._shaped(schedule.alpha_bar(probe), probe.shape, "schedule", "alpha_bar")
        forbidden = _forbidden(token_classes, num_classes) if token_classes else None
        self.register_buffer("forbidden", forbidden, persistent=False)

    @property
    def remembers(self) -> bool:
        """True if the network reads its own features of the step before (self-conditioning)."""
        return self.denoiser.self_condition > 0

    @property
    def holds_state(self) -> bool:
        """True if something after the embedding needs y_t itself, so that `draw` cannot serve."""
        return self.denoiser.bayes_skip or self.loss.predicts == "noise"

    @property
    def reads_side_inputs(self) -> bool:
        """True if the condition depends on what is known beside the image."""
        return getattr(self.conditioner, "reads_side_inputs", False)

    def condition(self, tokens: Tensor, side_inputs: SideInputs | None = None) -> Tensor:
        """Encoder tokens (B, L, W) -> condition (B, C, V).

        Where the conditioner reads what is known beside the images, columns that are not given
        count as missing; where it does not, nothing is read of them.
        """
        known: tuple[Any, ...] = ()
        if self.reads_side_inputs:
            known = (completed(side_inputs or {}, self.columns, len(tokens), tokens.device),)
        condition: Tensor = self.conditioner(tokens, *known)
        length = getattr(self.conditioner, "num_tokens", "C")
        wanted = (len(tokens), length, self.conditioner.width)
        self._shaped(condition, wanted, "conditioner", "a condition")
        return condition

    def null_condition(self, num_tokens: int) -> Tensor:
        """The learned "no image", (1, C, V)."""
        return self.null.expand(1, num_tokens, -1)

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        """What depends on the condition alone, once for all reuse copies, steps and chains."""
        return self.denoiser.prepare(condition)

    def length_logits(self, condition: Tensor) -> Tensor:
        """Condition (B, C, V) -> logits of 0, ..., N real tokens, (B, N + 1)."""
        if self.lengths is None:
            raise ValueError("this network was built without a length head")
        logits: Tensor = self.lengths(condition.mean(1)).float()
        return logits

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
                h = self.embedding.draw(clean.ids, alpha_bar, generator)
                return State(self._embedded(h, clean.ids.shape))
            shape = (*clean.ids.shape, self.num_classes)
            noise = torch.randn(shape, generator=generator, device=clean.ids.device)
            noisy = noised(clean.dense(self.num_classes), noise, alpha_bar, self.schedule.scale)
            return self.read(noisy.y_t, alpha_bar, noise)

    def read(self, y_t: Tensor, alpha_bar: Tensor, noise: Tensor | None = None) -> State:
        """A state that somebody holds."""
        if self.embedding is None:
            return State(y_t.new_zeros(len(y_t), 1, y_t.shape[2], 0), y_t, noise)
        h = self.embedding.read(y_t, alpha_bar)
        return State(self._embedded(h, y_t.shape[:-1]), y_t, noise)

    def _embedded(self, h: Tensor, shape: Sequence[int]) -> Tensor:
        self._shaped(h, (*shape, "D"), "embedding", "a state")
        return h

    def _shaped(self, given: Tensor, wanted: Sequence[int | str], kind: str, what: str) -> None:
        shaped(given, wanted, kind, what, self.plugin_names.get(kind, ""))

    def features(
        self,
        state: State,
        t: Tensor,
        prepared: tuple[Tensor, ...],
        layout: Layout | None = None,
        before: Tensor | None = None,
    ) -> Tensor:
        """What the output layer reads, (B, R, N, D).

        Args:
            state: n tokens, N of which are answers.
            t: broadcastable to (B, R, n).
            prepared: see `prepare`.
            layout: which tokens stand in the state; None: the N labels, each seeing all.
            before: the features of the step before, where the network remembers them.
        """
        h = state.h
        if self.memory is not None and before is not None:
            remembered = self.memory(before.to(h.dtype))
            # Tokens that stand before the answers have no step before.
            missing = h.shape[2] - remembered.shape[2]
            h = h + functional.pad(remembered, (0, 0, missing, 0))
        features = self.denoiser(h, t, prepared, layout)
        self._shaped(features, ("B", "R", h.shape[2], self.denoiser.width), "denoiser", "features")
        return features if layout is None else features[:, :, layout.first_answer :]

    def outputs(
        self, features: Tensor, state: State | None = None, alpha_bar: Tensor | None = None
    ) -> Tensor:
        """The K outputs in fp32, (B, R, N, K): logits, or an estimate where the loss is an MSE.

        With the Bayes skip the evidence is added: logits = log p(k | c) + c_t y_t.
        """
        outputs: Tensor = self.output(features).float()
        if self.denoiser.bayes_skip and state is not None and state.y_t is not None:
            assert alpha_bar is not None
            outputs = (
                outputs
                + log_likelihood_scale(alpha_bar, self.schedule.scale).unsqueeze(-1) * state.y_t
            )
        return outputs

    def losses(
        self, outputs: Tensor, labels: Tensor, alpha_bar: Tensor, noise: Tensor | None
    ) -> Tensor:
        """What each of the labels (B, R, N) costs, of the same shape; see `Loss`."""
        losses = self.loss(outputs, labels, alpha_bar, noise)
        self._shaped(losses, labels.shape, "loss", "losses")
        return losses

    def logits(
        self,
        outputs: Tensor,
        y_t: Tensor | None,
        alpha_bar: Tensor,
        places: Tensor | None = None,
    ) -> Tensor:
        """Unnormalised log p(y_0 | y_t, c); next to nothing for classes a token cannot take.

        Args:
            outputs: (B, R, n, K).
            y_t: where the loss needs it.
            alpha_bar: broadcastable to (B, R, n).
            places: which of the N tokens these are; None: all.
        """
        logits = self.loss.logits(outputs, y_t, alpha_bar)
        self._shaped(logits, outputs.shape, "loss", "logits")
        if self.forbidden is None:
            return logits
        return logits + (self.forbidden if places is None else self.forbidden[places])

    def forward(self, state: State, t: Tensor, prepared: tuple[Tensor, ...]) -> Tensor:
        """The K outputs of N labels that each see all, (B, R, N, K)."""
        return self.outputs(self.features(state, t, prepared), state, self.schedule.alpha_bar(t))


def _forbidden(token_classes: Sequence[tuple[int, int]], num_classes: int) -> Tensor:
    forbidden = torch.full((len(token_classes), num_classes), FORBIDDEN)
    for token, (start, stop) in enumerate(token_classes):
        forbidden[token, start:stop] = 0.0
    return forbidden
