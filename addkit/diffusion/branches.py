"""The network with a prepared condition, guided where asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.diffusion.guidance import guide
from addkit.diffusion.model import LabelDiffusion, State
from addkit.diffusion.results import Layout


@dataclass(frozen=True, slots=True)
class Look:
    """What the network said of one state."""

    logits: Tensor
    """(B, R, N, K), guided."""
    features: Tensor
    """(B, R, N, D), or (2B, R, N, D) under guidance: for the step that remembers them."""


@dataclass(frozen=True, slots=True)
class Branches:
    """The prepared condition, with the null condition behind it where guidance needs it."""

    model: LabelDiffusion
    prepared: tuple[Tensor, ...]
    """Each (B, ...), or (2, B, ...) under guidance."""
    guidance: float

    @classmethod
    def of(cls, model: LabelDiffusion, condition: Tensor, guidance: float) -> Branches:
        """Prepare the condition (B, C, V), and the null one if guidance is on."""
        prepared = model.prepare(condition)
        if guidance != 1:
            null = model.prepare(model.null_condition(condition.shape[1]))
            prepared = tuple(
                torch.stack([p, n.expand_as(p)]) for p, n in zip(prepared, null, strict=True)
            )
        return cls(model, prepared, guidance)

    @property
    def flat(self) -> tuple[Tensor, ...]:
        """The prepared condition of both branches, one after the other."""
        if self.guidance == 1:
            return self.prepared
        return tuple(p.flatten(0, 1) for p in self.prepared)

    def look(
        self, state: State, t: Tensor, layout: Layout | None = None, before: Tensor | None = None
    ) -> Look:
        """Guided logits of a state at times t, broadcastable to (B, R, N)."""
        alpha_bar = self.model.schedule.alpha_bar(t)
        places = None if layout is None else layout.places
        if self.guidance == 1:
            features = self.model.features(state, t, self.prepared, layout, before)
            outputs = self.model.outputs(features, state, alpha_bar)
        else:
            both, times = state.twice(), _twice(t)
            twice = None if layout is None else layout.twice()
            features = self.model.features(both, times, self.flat, twice, before)
            outputs = self.guided(self.model.outputs(features, both, _twice(alpha_bar)))
        return Look(self.model.logits(outputs, state.y_t, alpha_bar, places), features)

    def guided(self, outputs: Tensor) -> Tensor:
        """Both branches' outputs (2B, ...) as one; without guidance they are one already."""
        if self.guidance == 1:
            return outputs
        conditional, unconditional = outputs.chunk(2)
        return guide(conditional, unconditional, self.guidance)

    def select(self, images: Tensor) -> Branches:
        """The same for some of the images."""
        axis = 0 if self.guidance == 1 else 1
        prepared = tuple(p.index_select(axis, images) for p in self.prepared)
        return Branches(self.model, prepared, self.guidance)


def _twice(x: Tensor) -> Tensor:
    """A tensor (B or 1, ...) for both branches."""
    return x if len(x) == 1 else torch.cat([x, x])
