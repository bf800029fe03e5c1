"""Gaussian noise on one-hot labels: the paper's process (section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from addkit.diffusion.chain import ChainSettings, chain
from addkit.diffusion.chunked_loss import most_likely
from addkit.diffusion.likelihood import any_order_likelihood
from addkit.diffusion.model import LabelDiffusion, NoisyBatch
from addkit.diffusion.results import ChainStep, Clean, Layout, Targets
from addkit.diffusion.timesteps import TimeSettings, draw_times, even_rows

if TYPE_CHECKING:
    from addkit.diffusion.objective import ObjectiveSettings
    from addkit.plugin.protocols import Sampler, ToOne


class GaussianProcess:
    """q(y_t | y_0) = N(b sqrt(alpha_bar_t) y_0, (1 - alpha_bar_t) I), token by token."""

    def corrupt(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        targets: Targets,
        settings: ObjectiveSettings,
        generator: torch.Generator,
    ) -> NoisyBatch:
        """Noisy labels at drawn times. Tokens at t = 0 are given, so they have no loss."""
        t = draw_times(targets.labels.shape, generator, _times(model, settings))  # type: ignore[arg-type]
        if targets.known is not None:
            t = torch.where(targets.known, t, 1.0)
        labels = targets.labels
        if settings.rollout:
            labels = self._rolled_out(model, prepared, targets, t, settings, generator)
        alpha_bar = model.schedule.alpha_bar(t)
        state = model.corrupt(Clean(labels), alpha_bar, generator)
        weights = targets.weights
        if settings.token_times[2]:
            weights = (t > 0).float() if weights is None else weights * (t > 0)
        hidden = NoisyBatch(state, t, alpha_bar, weights, drawn=t)
        return self.with_layout(hidden, model, targets, generator)

    def with_layout(
        self,
        hidden: NoisyBatch,
        model: LabelDiffusion,
        targets: Targets,
        generator: torch.Generator,
    ) -> NoisyBatch:
        """Noisy tokens as the network reads them: each sees every present one."""
        return replace(hidden, layout=layout_of(targets))

    def chain(
        self,
        model: LabelDiffusion,
        condition: Tensor,
        sampler: Sampler,
        to_one: ToOne,
        settings: ChainSettings,
        generator: torch.Generator,
    ) -> Iterator[ChainStep]:
        """Predict, feed back with less noise, repeat."""
        return chain(model, condition, sampler, to_one, settings, generator)

    def likelihood(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        labels: Tensor,
        present: Tensor | None = None,
    ) -> Tensor:
        """Exact log p from left to right, (B, S, N) -> (B, S): clean words, then noise."""
        return any_order_likelihood(model, prepared, labels, present)

    @torch.no_grad()
    def _rolled_out(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        targets: Targets,
        t: Tensor,
        settings: ObjectiveSettings,
        generator: torch.Generator,
    ) -> Tensor:
        """Labels, of a share of rows the network's own prediction at an earlier, noisier time.

        In sampling the network reads its own errors, in training it never would.
        """
        batch, reuse, _ = targets.labels.shape
        further = torch.rand((batch, reuse, 1), generator=generator, device=generator.device)
        earlier = t + (1 - t) * further
        alpha_bar = model.schedule.alpha_bar(earlier)
        state = model.corrupt(Clean(targets.labels), alpha_bar, generator)
        look = self.with_layout(NoisyBatch(state, earlier, alpha_bar), model, targets, generator)
        features = model.features(look.state, look.t, prepared, look.layout)
        guess = most_likely(model, features, look.state, alpha_bar)
        rows = even_rows(batch, reuse, settings.rollout, generator).unsqueeze(-1)
        # A token at t = 0 is given, and its noise would hide no wrong guess.
        return torch.where(rows & (t > 0), guess, targets.labels)


def layout_of(targets: Targets) -> Layout | None:
    """Each token sees every present one."""
    if targets.present is None:
        return None
    return Layout(targets.present.unsqueeze(2))


def _times(model: LabelDiffusion, settings: ObjectiveSettings) -> TimeSettings:
    return TimeSettings(
        stratified=settings.stratified,
        pure_noise=settings.pure_noise,
        power=model.schedule.t_power,
        warp=model.timesteps,
        token_times=settings.token_times,
    )
