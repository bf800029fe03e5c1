"""Gaussian noise on one-hot labels: the paper's process (section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.likelihood import any_order_likelihood
from addkit.diffusion.noise import draw_times
from addkit.plugin.protocols import LabelModel, Schedule
from addkit.plugin.values import Layout, NoisyBatch, Prepared, Targets, TimeSettings


class GaussianProcess:
    """q(y_t | y_0) = N(b sqrt(alpha_bar_t) y_0, (1 - alpha_bar_t) I), token by token."""

    block: int | None = None

    def corrupt(
        self, targets: Targets, schedule: Schedule, times: TimeSettings, generator: torch.Generator
    ) -> NoisyBatch:
        """The labels at drawn times. Tokens at t = 0 are given, so they have no loss."""
        batch, reuse, num_tokens = targets.labels.shape
        t = draw_times((batch, reuse, num_tokens), generator, times)  # (B, R, N)
        if targets.known is not None:
            # A missing label carries nothing: pure noise, whatever time was drawn.
            t = torch.where(targets.known, t, 1.0)
        weights = targets.weights
        # Clean tokens come from clean-or-noise rows, so that other recipes need no weights.
        if times.token_times[2]:
            weights = (t > 0).float() if weights is None else weights * (t > 0)
        alpha_bar = schedule.alpha_bar(t)
        # Each token sees every present one, (B, R, 1, N).
        layout = None if targets.present is None else Layout(targets.present.unsqueeze(2))
        return NoisyBatch(targets.labels, alpha_bar, t, weights, layout=layout, sampled_t=t)

    def likelihood(
        self,
        model: LabelModel,
        prepared: Prepared,
        labels: Tensor,
        present: Tensor | None = None,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Exact log p from left to right, (B, S, N) -> (B, S): clean words, then noise."""
        return any_order_likelihood(model, prepared, labels, present, counts)
