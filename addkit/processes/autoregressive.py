"""Autoregression: each token from those before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from addkit.diffusion.branches import Branches
from addkit.diffusion.chain import FREE, ChainSettings, forced
from addkit.diffusion.likelihood import counted, token_log_probabilities
from addkit.diffusion.model import LabelDiffusion, NoisyBatch
from addkit.diffusion.results import ChainStep, Clean, Layout, Targets
from addkit.processes.beam import beam_search
from addkit.samplers.ordered import Beam

if TYPE_CHECKING:
    from addkit.diffusion.objective import ObjectiveSettings
    from addkit.plugin.protocols import JointDenoiser, Sampler, ToOne


class AutoregressiveProcess:
    r"""log p(y | c) = \sum_n log p(y_n | y_1, ..., y_{n-1}, c).

    Position n reads the clean token n - 1 and sees positions up to n; the first reads pure noise,
    which says nothing. Sampling keeps each token's keys and values.

    Args:
        pad: the class after which a caption has ended; None where there is none.
    """

    def __init__(self, pad: int | None) -> None:
        self.pad = pad

    def corrupt(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        targets: Targets,
        settings: ObjectiveSettings,
        generator: torch.Generator,
    ) -> NoisyBatch:
        """Every token is predicted from the true ones before it (teacher forcing)."""
        seen = targets.labels.roll(1, -1)
        alpha_bar = torch.ones_like(seen, dtype=torch.float32)
        alpha_bar[..., 0] = 0.0
        if targets.known is not None:
            alpha_bar = alpha_bar * targets.known.roll(1, -1)
        state = model.corrupt(Clean(seen), alpha_bar, generator)
        layout = causal(seen.shape[-1], seen.device)
        zero = torch.zeros(1, 1, 1, device=seen.device)
        return NoisyBatch(state, zero, zero, targets.weights, layout=layout)

    def likelihood(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        labels: Tensor,
        present: Tensor | None = None,
    ) -> Tensor:
        """log p, in one pass; what follows the first pad is certain. (B, S, N) -> (B, S)."""
        from addkit.diffusion.objective import ObjectiveSettings

        generator = torch.Generator(device=labels.device)
        hidden = self.corrupt(model, prepared, Targets(labels), ObjectiveSettings(), generator)
        features = model.features(hidden.state, hidden.t, prepared, hidden.layout)
        each = token_log_probabilities(model, features, labels)
        if self.pad is None:
            return counted(each, present)
        ended = (labels == self.pad).long().cumsum(-1) > (labels == self.pad).long()
        return counted(each.masked_fill(ended, 0.0), present)

    def chain(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        sampler: Sampler,
        to_one: ToOne,
        settings: ChainSettings,
        generator: torch.Generator,
    ) -> Iterator[ChainStep]:
        """N passes of one token. All but the last are yielded only where the state is held."""
        branches = Branches.of(model, condition, settings.guidance)
        if isinstance(sampler, Beam):
            yield beam_search(branches, sampler, settings, self.pad, len(condition))
            return
        writer = _Writer.of(branches, settings, len(condition), self.pad)
        for index in range(model.num_tokens):
            writer.write(index, to_one, generator)
            if settings.hold or index + 1 == model.num_tokens:
                yield writer.step(index)


def causal(num_tokens: int, device: torch.device) -> Layout:
    """Each token sees itself and those before it."""
    ones = torch.ones(1, 1, num_tokens, num_tokens, dtype=torch.bool, device=device)
    return Layout(ones.tril())


@dataclass(slots=True)
class _Writer:
    """Rows (B R) that are written token by token."""

    branches: Branches
    known: tuple[Tensor, ...]
    """Keys and values of the condition and of the tokens so far, for each row and branch."""
    logits: Tensor
    """(B, R, N, K), what is not written yet being sure of the pad (or of class 0)."""
    labels: Tensor
    """(B, R, N)."""
    settings: ChainSettings
    pad: int | None

    @classmethod
    def of(
        cls, branches: Branches, settings: ChainSettings, batch: int, pad: int | None
    ) -> _Writer:
        model, rows = branches.model, settings.chains
        device = branches.flat[0].device
        labels = torch.full((batch, rows, model.num_tokens), pad or 0, device=device)
        logits = torch.zeros(1, 1, 1, model.num_classes, device=device)
        logits = forced(logits.expand(*labels.shape, -1), labels)
        known = tuple(p.repeat_interleave(rows, 0) for p in branches.flat)
        return cls(branches, known, logits, labels, settings, pad)

    def write(self, index: int, to_one: ToOne, generator: torch.Generator) -> None:
        """Token `index` of every row; nothing where all have ended."""
        ended = self._ended(index)
        if bool(ended.all()):
            return
        features, self.known = next_features(self.branches, self.known, self.labels, index)
        outputs = self.branches.guided(self.branches.model.outputs(features))
        logits = outputs.view(*self.labels.shape[:2], 1, -1)
        logits = constrained(logits, self.branches.model, self.settings, index)
        logits = torch.where(ended[..., None], self.logits[:, :, index : index + 1], logits)
        self.logits[:, :, index] = logits[:, :, 0]
        self.labels[:, :, index] = to_one(logits, generator).ids[:, :, 0]

    def _ended(self, index: int) -> Tensor:
        """(B, R, 1): rows that have a pad before `index`."""
        if self.pad is None:
            return torch.zeros_like(self.labels[..., :1], dtype=torch.bool)
        return (self.labels[..., :index] == self.pad).any(-1, keepdim=True)

    def step(self, index: int) -> ChainStep:
        """As others see it."""
        t = 1 - index / self.labels.shape[-1]
        exited = torch.zeros(len(self.labels), dtype=torch.bool, device=self.labels.device)
        clean, prior = Clean(self.labels.clone()), self.settings.prior
        return ChainStep(index, t, self.logits.clone(), clean, exited, prior=prior)


def next_features(
    branches: Branches, known: tuple[Tensor, ...], labels: Tensor, index: int
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Features (rows, 1, 1, D) of token `index`, which reads the one before it."""
    model, device = branches.model, labels.device
    seen = labels.flatten(0, 1)[:, index - 1, None, None] if index else labels.new_zeros(1, 1, 1)
    alpha_bar = torch.full((1, 1, 1), float(index > 0), device=device)
    state = model.corrupt(Clean(seen), alpha_bar, torch.Generator(device=device))
    h = state.h.expand(labels.shape[0] * labels.shape[1], -1, -1, -1)
    if branches.guidance != 1:
        h = torch.cat([h, h])
    layout = Layout(places=torch.tensor([index], device=device))
    zero = torch.zeros(1, 1, 1, device=device)
    return cast("JointDenoiser", model.denoiser).extend(h, zero, known, layout)


def constrained(
    logits: Tensor, model: LabelDiffusion, settings: ChainSettings, index: int
) -> Tensor:
    """Logits (B, R, 1, K) of token `index` under what is forbidden, wished and given."""
    if model.forbidden is not None:
        logits = logits + model.forbidden[index]
    if settings.bias is not None:
        bias = settings.bias
        logits = logits + (bias if bias.shape[-2] == 1 else bias[..., index : index + 1, :])
    if settings.held is None:
        return logits
    held = settings.held[..., index : index + 1]
    return forced(logits, held.expand(*logits.shape[:-1])) if bool((held != FREE).any()) else logits
