"""Autoregression: each token from those before it."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.diffusion.likelihood import (
    clean_or_hidden,
    counted,
    token_log_probabilities,
    up_to_end,
)
from addkit.plugin.protocols import LabelModel, Schedule
from addkit.plugin.values import Layout, NoisyBatch, Prepared, Targets, TimeSettings


class AutoregressiveProcess:
    r"""log p(y | c) = \sum_n log p(y_n | y_1, ..., y_{n-1}, c).

    Position n reads the clean token n - 1 and sees positions up to n; the first reads pure noise,
    which carries no label. `pad` is the class after which a caption has ended; None where there is
    none.
    """

    block: int | None = 0

    def __init__(self, pad: int | None = None) -> None:
        self.pad = pad

    def corrupt(
        self, targets: Targets, schedule: Schedule, times: TimeSettings, generator: torch.Generator
    ) -> NoisyBatch:
        """Every token is predicted from the true ones before it (teacher forcing)."""
        alpha_bar = torch.ones_like(targets.labels, dtype=torch.float32)  # (B, R, N)
        alpha_bar[..., 0] = 0.0
        # A missing token is read as noise by the position behind it.
        if targets.known is not None:
            alpha_bar = alpha_bar * targets.known.roll(1, -1)
        return _shifted(targets.labels, alpha_bar, targets.weights)

    def likelihood(
        self,
        model: LabelModel,
        prepared: Prepared,
        labels: Tensor,
        present: Tensor | None = None,
        counts: Tensor | None = None,
    ) -> Tensor:
        """log p, in one pass; what follows the first pad is certain. (B, S, N) -> (B, S)."""
        alpha_bar = torch.ones_like(labels, dtype=torch.float32)  # (B, S, N)
        alpha_bar[..., 0] = 0.0
        batch = _shifted(labels, alpha_bar)
        state = clean_or_hidden(model, batch.ids, alpha_bar == 0)
        features = model.features(state, batch.t, prepared, batch.layout)  # (B, S, N, D)
        log_p = token_log_probabilities(model, features, labels)
        if self.pad is not None:
            # The first pad is predicted (it ends the caption); those behind it have p = 1.
            log_p = log_p.masked_fill(~up_to_end(labels, self.pad), 0.0)
        return counted(log_p, present, counts)


def _shifted(labels: Tensor, alpha_bar: Tensor, weights: Tensor | None = None) -> NoisyBatch:
    """Position n reads token n - 1 and sees itself and the positions before it."""
    zero = torch.zeros(1, 1, 1, device=labels.device)
    # A position reads nothing of the token that it predicts: its signal power is 0.
    return NoisyBatch(
        # The last token comes round to the first position, where alpha_bar = 0 hides it.
        labels.roll(1, -1),
        alpha_bar,
        zero,
        weights,
        layout=causal(labels.shape[-1], labels.device),
        target_alpha_bar=zero,
    )


def causal(num_tokens: int, device: torch.device) -> Layout:
    """Each token sees itself and those before it."""
    # (1, 1, N, N): row i sees columns up to i.
    ones = torch.ones(1, 1, num_tokens, num_tokens, dtype=torch.bool, device=device)
    return Layout(ones.tril())
