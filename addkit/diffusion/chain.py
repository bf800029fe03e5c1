r"""The sampling chain: predict the clean label, feed it back with less noise (section 3.2).

.. math::
    \hat y_0 = \mathrm{onehot}(\arg\max_k p(y_0^{(k)} \mid y_t, c)), \qquad
    y_s = b\sqrt{\bar\alpha_s}\,\hat y_0 + \sqrt{1-\bar\alpha_s}\,
          (r\,\hat\epsilon + \sqrt{1 - r^2}\,\epsilon)

The paper prints alpha without the bar here; only alpha_bar agrees with its forward process. r is
the sampler's share of carried noise: 0 for the paper's arg-max-and-re-noise.

Several tokens may follow one path of noise levels together, or be settled one after the other: a
settled token stays what it is, without noise, while the others wait at t = T or go on annealing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from addkit.diffusion.branches import Branches, Look
from addkit.diffusion.draws import draw_labels
from addkit.diffusion.model import FORBIDDEN, LabelDiffusion, State
from addkit.diffusion.process import noised, signal_to_noise
from addkit.diffusion.results import ChainStep, Clean, Layout
from addkit.diffusion.timesteps import time_grid

if TYPE_CHECKING:
    from addkit.plugin.protocols import Sampler, ToOne


FREE = -1
"""In `ChainSettings.held`: a token that is not given."""


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
    held: Tensor | None = None
    """Labels that are given, broadcastable to (B, R, N); FREE elsewhere."""
    bias: Tensor | None = None
    """Added to logits, broadcastable to (B, R, N, K)."""
    lengths: Tensor | None = None
    """(B, R): only so many tokens of a chain exist for the network; None: all."""
    prior: Tensor | None = None
    """(B, R): log probability of what each chain was given."""


def forced(logits: Tensor, held: Tensor | None) -> Tensor:
    """Logits (B, R, N, K) that are sure of the tokens that are given."""
    if held is None:
        return logits
    given = (held != FREE).unsqueeze(-1)
    sure = torch.full_like(logits[..., :1], FORBIDDEN).expand_as(logits)
    sure = sure.scatter(-1, held.clamp_min(0).unsqueeze(-1).expand(*logits.shape[:-1], 1), 0.0)
    return torch.where(given, sure, logits)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a chain stands before a step."""

    state: State
    t: Tensor
    """Broadcastable to (B, R, N)."""
    settled: Tensor | None = None
    """(B, R, N) bool, where tokens settle one after the other or are given."""
    labels: Tensor | None = None
    """(B, R, N) what settled tokens are."""


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
        sampler: which share of the noise a step carries over, and in which order tokens settle.
        to_one: from logits to the clean label that is fed back.
        settings: see `ChainSettings`; times are 1, (n-1)/n, ..., 1/n.
        generator: of all noise.
    """
    branches = Branches.of(model, condition, settings.guidance)
    shape = (len(condition), settings.chains, model.num_tokens)
    layout = _layout(settings.lengths, model.num_tokens)
    return walk(branches, sampler, to_one, settings, generator, shape, layout)


def walk(
    branches: Branches,
    sampler: Sampler,
    to_one: ToOne,
    settings: ChainSettings,
    generator: torch.Generator,
    shape: tuple[int, int, int],
    layout: Layout | None,
) -> Iterator[ChainStep]:
    """`chain` for a condition that is prepared already, over `shape` (B, R, n) tokens of it."""
    # More steps than tokens to settle would settle none.
    steps = min(settings.steps, shape[2]) if sampler.order else settings.steps
    grid = time_grid(steps).float().to(generator.device)
    on = _Walk(branches, sampler, to_one, settings, generator, shape, layout, steps, grid)
    place, look, before = on.start(), None, None
    standing = torch.zeros(shape[0], dtype=torch.long, device=generator.device)
    exited = torch.zeros(shape[0], dtype=torch.bool, device=generator.device)
    for index in range(on.steps):
        look = on.look(place, look, exited)
        logits = on.shown(look.logits, place, before)
        clean = on.clean(logits, place)
        yield on.step(index, logits, clean, exited, place)
        if settings.early_exit:
            # Two passes over K-wide tensors, so only where somebody asks.
            standing = _standing(logits, before, standing)
            exited = standing >= settings.early_exit
        if index + 1 == on.steps or bool(exited.all()):
            return
        before, place = logits, on.onward(place, logits, clean, index)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Everything that stays the same from step to step."""

    branches: Branches
    sampler: Sampler
    to_one: ToOne
    settings: ChainSettings
    generator: torch.Generator
    shape: tuple[int, int, int]
    layout: Layout | None
    steps: int
    grid: Tensor

    @property
    def model(self) -> LabelDiffusion:
        return self.branches.model

    @property
    def holds(self) -> bool:
        """True if the state itself must be kept."""
        return self.settings.hold or self.sampler.carries_state

    def start(self) -> _Place:
        """Pure noise whatever the schedule leaves at t = 1, or y_T = 0; what is given is given."""
        state = self._first_state()
        place = _Place(state, torch.ones(1, 1, 1, device=self.generator.device))
        if self.settings.held is None:
            return place
        held = self.settings.held.expand(self.shape)
        given = held != FREE
        place = replace(place, settled=given, labels=held.clamp_min(0))
        return self._with_settled(place, Clean(held.clamp_min(0)))

    def _first_state(self) -> State:
        model, zero = self.model, torch.zeros(1, 1, 1, device=self.generator.device)
        if "zero" in (self.settings.start, self.sampler.start):
            y_t = torch.zeros(1, 1, 1, model.num_classes, device=self.generator.device)
            h = model.read(y_t, zero).h.expand(*self.shape, -1)
            needed = self.holds or model.holds_state
            return State(h, y_t.expand(*self.shape, -1) if needed else None)
        labels = torch.zeros(self.shape, dtype=torch.long, device=self.generator.device)
        return model.corrupt(Clean(labels), zero, self.generator, hold=self.holds)

    def look(self, place: _Place, last: Look | None, exited: Tensor) -> Look:
        """What the network says; images that left keep what it said last and cost nothing."""
        if last is None or not bool(exited.any()):
            before = last.features if last is not None and self.model.remembers else None
            return self.branches.look(place.state, place.t, self.layout, before)
        images = (~exited).nonzero().squeeze(1)
        t = place.t if len(place.t) == 1 else place.t[images]
        layout = None if self.layout is None else self.layout.select(images)
        before = self._features(last, images) if self.model.remembers else None
        look = self.branches.select(images).look(place.state.select(images), t, layout, before)
        return self._put(last, images, look)

    def _rows(self, images: Tensor) -> Tensor:
        """Where these images' features stand: once, or in both branches."""
        if self.settings.guidance == 1:
            return images
        return torch.cat([images, images + self.shape[0]])

    def _features(self, last: Look, images: Tensor) -> Tensor:
        return last.features[self._rows(images)]

    def _put(self, last: Look, images: Tensor, look: Look) -> Look:
        """The last look with a new one at these images."""
        logits = last.logits.expand(-1, look.logits.shape[1], -1, -1)
        features = last.features.expand(-1, look.features.shape[1], -1, -1)
        return Look(
            logits.index_copy(0, images, look.logits),
            features.index_copy(0, self._rows(images), look.features),
        )

    def shown(self, logits: Tensor, place: _Place, before: Tensor | None) -> Tensor:
        """Logits of all chains; a settled token's are those that settled it."""
        logits = logits.expand(-1, self.shape[1], -1, -1)
        if self.settings.bias is not None:
            logits = logits + self.settings.bias
        if place.settled is not None and before is not None:
            logits = torch.where(place.settled.unsqueeze(-1), before, logits)
        return forced(logits, self.settings.held)

    def clean(self, logits: Tensor, place: _Place) -> Clean:
        """The label that is fed back."""
        draws = self.sampler.draws
        clean = (
            draw_labels(logits, self.generator) if draws else self.to_one(logits, self.generator)
        )
        if place.settled is None or place.labels is None:
            return clean
        ids = torch.where(place.settled, place.labels, clean.ids)
        if clean.soft is None:
            return Clean(ids)
        certain = Clean(ids).dense(self.model.num_classes)
        return Clean(ids, torch.where(place.settled.unsqueeze(-1), certain, clean.soft))

    def step(
        self, index: int, logits: Tensor, clean: Clean, exited: Tensor, place: _Place
    ) -> ChainStep:
        """As others see it."""
        t, prior = float(self.grid[index]), self.settings.prior
        return ChainStep(index, t, logits, clean, exited, place.state.y_t, prior)

    def onward(self, place: _Place, logits: Tensor, clean: Clean, index: int) -> _Place:
        """The place before the next step."""
        s = self.grid[index + 1].expand(1, 1, 1)
        if self.sampler.order is not None:
            return self._settle(place, logits, clean, index, s)
        state = _next_state(self, clean, place, s)
        if self.settings.shuffled:
            device = self.grid.device
            state = state.select(
                torch.randperm(self.shape[0], generator=self.generator, device=device)
            )
        return self._with_settled(replace(place, state=state, t=s), clean)

    def _with_settled(self, place: _Place, clean: Clean) -> _Place:
        """Tokens that are given stand without noise among the others."""
        if place.settled is None:
            return place
        one = torch.ones(1, 1, 1, device=self.generator.device)
        y_t = place.state.y_t
        sure = self.model.corrupt(Clean(clean.ids), one, self.generator, hold=y_t is not None)
        where = place.settled.unsqueeze(-1)
        h = torch.where(where, sure.h, place.state.h)
        if y_t is not None and sure.y_t is not None:
            y_t = torch.where(where, sure.y_t, y_t)
        t = torch.where(place.settled, 0.0, place.t)
        return replace(place, state=State(h, y_t, place.state.noise), t=t)

    def _settle(self, place: _Place, logits: Tensor, clean: Clean, index: int, s: Tensor) -> _Place:
        """Settle the next share of tokens, the ones that the sampler's order puts first."""
        assert self.sampler.order is not None
        settled = place.settled
        if settled is None:
            settled = torch.zeros(self.shape, dtype=torch.bool, device=self.grid.device)
        rank = self.sampler.order(logits, clean.ids, self.generator)
        settled = _settled(rank, settled, self._given(), (index + 1) / self.steps)
        waiting = s if self.sampler.anneals else torch.ones_like(s)
        t = torch.where(settled, 0.0, waiting)
        state = self.model.corrupt(
            Clean(clean.ids), self._levels(t), self.generator, hold=self.holds
        )
        if self.settings.shuffled:
            order = torch.randperm(self.shape[0], generator=self.generator, device=s.device)
            state, t = state.select(order), t[order]
        return _Place(state, t, settled, clean.ids)

    def _given(self) -> Tensor | int:
        """How many tokens of each chain were given, (B, R, 1)."""
        if self.settings.held is None:
            return 0
        return (self.settings.held != FREE).expand(self.shape).sum(-1, keepdim=True)

    def _levels(self, t: Tensor) -> Tensor:
        """alpha_bar: exactly 1 where clean and 0 where pure noise, whatever the schedule leaves."""
        alpha_bar = self.model.schedule.alpha_bar(t)
        alpha_bar = torch.where(t == 0, 1.0, alpha_bar)
        return torch.where(t == 1, 0.0, alpha_bar)


def _settled(rank: Tensor, settled: Tensor, given: Tensor | int, share: float) -> Tensor:
    """Which tokens are settled once this share of those that were not given is."""
    place = torch.where(settled, torch.inf, rank).argsort(-1, descending=True).argsort(-1)
    free = torch.as_tensor(rank.shape[-1] - given, device=rank.device)
    return place < given + torch.ceil(share * free - 1e-6)


def _layout(lengths: Tensor | None, num_tokens: int) -> Layout | None:
    """Tokens beyond a chain's length are not seen."""
    if lengths is None:
        return None
    order = torch.arange(num_tokens, device=lengths.device)
    return Layout((order < lengths.unsqueeze(-1)).unsqueeze(2))


def _standing(logits: Tensor, before: Tensor | None, standing: Tensor) -> Tensor:
    """For how many steps in a row, this one included, each image's answers have stood."""
    if before is None:
        return torch.ones_like(standing)
    same = (logits.argmax(-1) == before.argmax(-1)).flatten(1).all(1)
    return torch.where(same, standing + 1, 1)


def _next_state(walk: _Walk, clean: Clean, place: _Place, s: Tensor) -> State:
    """The clean label with the noise of time s, of which the sampler carries a share over."""
    model, sampler, generator = walk.model, walk.sampler, walk.generator
    alpha_t, alpha_s = model.schedule.alpha_bar(place.t), model.schedule.alpha_bar(s)
    scale = model.schedule.scale
    if sampler.noiseless:
        y_s = scale * alpha_s.sqrt().unsqueeze(-1) * clean.dense(model.num_classes)
        return model.read(y_s, alpha_s)
    if not sampler.carries_state or place.state.y_t is None:
        return model.corrupt(clean, alpha_s, generator, hold=walk.settings.hold)
    r = sampler.carry(signal_to_noise(alpha_t, scale), signal_to_noise(alpha_s, scale))
    label, signal, r = clean.dense(model.num_classes), alpha_t.unsqueeze(-1), r.unsqueeze(-1)
    held = (place.state.y_t - scale * signal.sqrt() * label) / (1 - signal).clamp_min(1e-6).sqrt()
    fresh = torch.randn(held.shape, generator=generator, device=held.device)
    noise = r * held + (1 - r.square()).clamp_min(0).sqrt() * fresh
    return model.read(noised(label, noise, alpha_s, scale).y_t, alpha_s, noise)
