"""The timestep-conditioned objective with feature reuse (sections 3.2 and 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.diffusion.guidance import drop_condition
from addkit.diffusion.model import LabelDiffusion
from addkit.diffusion.results import Clean
from addkit.diffusion.times import draw_times

__all__ = ["ObjectiveSettings", "ObjectiveValue", "objective"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """Which rows a training step looks at; see `addkit.recipe.Training` for each."""

    stratified: bool = True
    pure_noise: float = 0.0
    condition_drop: float = 0.1


@dataclass(frozen=True, slots=True)
class ObjectiveValue:
    """The loss of one batch and what a progress line shows."""

    loss: Tensor
    """Mean over rows, a scalar with gradient."""
    accuracy: Tensor
    """Share of rows whose most probable class is the label, noise level as drawn."""


def objective(
    model: LabelDiffusion,
    tokens: Tensor,
    labels: Tensor,
    settings: ObjectiveSettings,
    generator: torch.Generator,
) -> ObjectiveValue:
    r"""E_t [ w(alpha_bar_t) l(f(y_t, t, c), y_0) ], R noisy copies for each image.

    Args:
        model: the network with its schedule and loss.
        tokens: from the encoder, (B, L, W). The condition is prepared once for all R copies.
        labels: (B, R, N); the copies of an image may differ (mixup draws each).
        settings: which rows to look at.
        generator: on the device of `labels`.
    """
    batch, reuse, num_tokens = labels.shape
    condition = drop_condition(
        model.condition(tokens), model.null, settings.condition_drop, generator
    )
    t = draw_times(
        batch,
        reuse,
        num_tokens,
        generator,
        stratified=settings.stratified,
        pure_noise=settings.pure_noise,
        power=model.schedule.t_power,
    )
    alpha_bar = model.schedule.alpha_bar(t)
    state = model.corrupt(Clean(labels), alpha_bar, generator)
    outputs = model(state, t, model.prepare(condition)).expand(-1, reuse, -1, -1)
    loss = model.loss(outputs, labels, alpha_bar, state.noise).mean()
    with torch.no_grad():
        logits = model.loss.logits(outputs, state.y_t, alpha_bar)
        accuracy = (logits.argmax(-1) == labels).float().mean()
    return ObjectiveValue(loss, accuracy)
