r"""The sampling chain: predict the clean label, feed it back with less noise (section 3.2).

.. math::
    \hat y_0 = \mathrm{onehot}(\arg\max_k p(y_0^{(k)} \mid y_t, c)), \qquad
    y_s = b\sqrt{\bar\alpha_s}\,\hat y_0 + \sqrt{1-\bar\alpha_s}\,
          (r\,\hat\epsilon + \sqrt{1 - r^2}\,\epsilon)

The paper prints alpha without the bar here; only alpha_bar agrees with its forward process. r is
the sampler's share of carried noise: 0 for the paper's arg-max-and-re-noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from addkit.diffusion.draws import draw_labels
from addkit.diffusion.guidance import guide
from addkit.diffusion.model import LabelDiffusion, State
from addkit.diffusion.process import noised, signal_to_noise
from addkit.diffusion.results import ChainStep, Clean
from addkit.diffusion.times import time_grid

if TYPE_CHECKING:
    from addkit.plugin.protocols import Sampler, ToOne

__all__ = ["ChainSettings", "chain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """How a chain runs."""

    steps: int
    guidance: float = 1.0
    chains: int = 1
    early_exit: int = 0
    """Leave an image once all its labels stood for this many steps; 0 never leaves."""
    start: Literal["noise", "zero"] = "noise"
    hold: bool = False
    """Keep y_t itself and yield it, also where nobody needs it."""
    shuffled: bool = False
    """Audit: give each image another image's state from the second step on."""


@dataclass(frozen=True, slots=True)
class _Branches:
    """The prepared condition, with the null condition behind it where guidance needs it."""

    model: LabelDiffusion
    prepared: tuple[Tensor, ...]
    guidance: float

    @classmethod
    def of(cls, model: LabelDiffusion, condition: Tensor, guidance: float) -> _Branches:
        prepared = model.prepare(condition)
        if guidance != 1:
            null = model.prepare(model.null_condition(condition.shape[1]))
            prepared = tuple(
                torch.stack([p, n.expand_as(p)]) for p, n in zip(prepared, null, strict=True)
            )
        return cls(model, prepared, guidance)

    def logits(self, state: State, t: Tensor) -> Tensor:
        """Guided logits, (B, R, N, K)."""
        if self.guidance == 1:
            outputs = self.model(state, t, self.prepared)
        else:
            prepared = tuple(p.flatten(0, 1) for p in self.prepared)
            conditional, unconditional = self.model(state.twice(), t, prepared).chunk(2)
            outputs = guide(conditional, unconditional, self.guidance)
        return self.model.loss.logits(outputs, state.y_t, self.model.schedule.alpha_bar(t))

    def select(self, images: Tensor) -> _Branches:
        """The same for some of the images."""
        axis = 0 if self.guidance == 1 else 1
        prepared = tuple(p.index_select(axis, images) for p in self.prepared)
        return _Branches(self.model, prepared, self.guidance)


def chain(
    model: LabelDiffusion,
    condition: Tensor,
    sampler: Sampler,
    to_one: ToOne,
    settings: ChainSettings,
    generator: torch.Generator,
) -> Iterator[ChainStep]:
    """Run R chains for each image from pure noise (or y_T = 0) and yield every step.

    Args:
        model: the network.
        condition: (B, C, V), on the device of `generator`.
        sampler: which share of the noise a step carries over.
        to_one: from logits to the clean label that is fed back.
        settings: see `ChainSettings`; times are 1, (n-1)/n, ..., 1/n.
        generator: of all noise.
    """
    batch = len(condition)
    branches = _Branches.of(model, condition, settings.guidance)
    grid = time_grid(settings.steps).float().to(condition.device)
    hold = settings.hold or sampler.carries_state
    state = _first_state(model, batch, settings, hold, generator)
    before, standing = None, torch.zeros(batch, dtype=torch.long, device=condition.device)
    exited = torch.zeros(batch, dtype=torch.bool, device=condition.device)
    for index, (t, s) in enumerate(pairwise(grid)):
        logits = _logits(branches, state, t.expand(1, 1, 1), before, exited)
        logits = logits.expand(-1, settings.chains, -1, -1)
        clean = draw_labels(logits, generator) if sampler.draws else to_one(logits, generator)
        yield ChainStep(index, float(t), logits, clean, exited, state.y_t)
        standing = _standing(logits, before, standing)
        if settings.early_exit:
            exited = standing >= settings.early_exit
        if index + 1 == settings.steps or bool(exited.all()):
            return
        before = logits
        state = _next_state(model, clean, state, (t, s), sampler, hold, generator)
        if settings.shuffled:
            state = state.select(torch.randperm(batch, generator=generator, device=grid.device))


def _logits(
    branches: _Branches, state: State, t: Tensor, before: Tensor | None, exited: Tensor
) -> Tensor:
    """Logits of all images; those that left keep their last ones and cost nothing."""
    if before is None or not bool(exited.any()):
        return branches.logits(state, t)
    images = (~exited).nonzero().squeeze(1)
    fresh = branches.select(images).logits(state.select(images), t)
    return before.index_copy(0, images, fresh.expand(-1, before.shape[1], -1, -1))


def _standing(logits: Tensor, before: Tensor | None, standing: Tensor) -> Tensor:
    """For how many steps in a row, this one included, each image's answers have stood."""
    if before is None:
        return torch.ones_like(standing)
    same = (logits.argmax(-1) == before.argmax(-1)).flatten(1).all(1)
    return torch.where(same, standing + 1, 1)


def _first_state(
    model: LabelDiffusion,
    batch: int,
    settings: ChainSettings,
    hold: bool,
    generator: torch.Generator,
) -> State:
    """Pure noise whatever the schedule leaves at t = 1, or y_T = 0."""
    shape = (batch, settings.chains, model.num_tokens)
    zero = torch.zeros(1, 1, 1, device=generator.device)
    if settings.start == "noise":
        labels = torch.zeros(shape, dtype=torch.long, device=generator.device)
        return model.corrupt(Clean(labels), zero, generator, hold=hold)
    y_t = torch.zeros(1, 1, 1, model.num_classes, device=generator.device)
    state = model.read(y_t, zero)
    return State(state.h.expand(*shape, -1), y_t.expand(*shape, -1))


def _next_state(
    model: LabelDiffusion,
    clean: Clean,
    state: State,
    times: tuple[Tensor, Tensor],
    sampler: Sampler,
    hold: bool,
    generator: torch.Generator,
) -> State:
    """The clean label with the noise of time s, of which the sampler carries a share over."""
    alpha_t, alpha_s = (model.schedule.alpha_bar(x.expand(1, 1, 1)) for x in times)
    if not sampler.carries_state or state.y_t is None:
        return model.corrupt(clean, alpha_s, generator, hold=hold)
    scale = model.schedule.scale
    r = sampler.carry(signal_to_noise(alpha_t, scale), signal_to_noise(alpha_s, scale))
    label = clean.dense(model.num_classes)
    held = (state.y_t - scale * alpha_t.sqrt() * label) / (1 - alpha_t).clamp_min(1e-6).sqrt()
    fresh = torch.randn(held.shape, generator=generator, device=held.device)
    noise = r * held + (1 - r.square()).clamp_min(0).sqrt() * fresh
    return model.read(noised(label, noise, alpha_s, scale).y_t, alpha_s, noise)
