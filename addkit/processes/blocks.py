"""Blocks from left to right, diffusion within each: between ADD and autoregression."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from addkit.diffusion.likelihood import clean_or_hidden, counted, token_log_probabilities
from addkit.errors import UsageError
from addkit.plugin.protocols import LabelModel, Schedule
from addkit.plugin.values import Layout, NoisyBatch, Prepared, Targets, TimeSettings
from addkit.processes.gaussian import GaussianProcess


class BlocksProcess(GaussianProcess):
    """Two streams in training: clean tokens, causal, and noisy ones (Arriola et al. 2025, BD3-LM).

    A noisy token sees the clean tokens before its block and the noisy ones of its block, so one
    pass trains every block. Sampling (`addkit.samplers.blocks`) denoises one block after the other.
    With blocks of 1 and all rows at t = T this is autoregression. `block` is the number of
    tokens of a block.
    """

    def __init__(self, block: int) -> None:
        self.block = block

    def corrupt(
        self, targets: Targets, schedule: Schedule, times: TimeSettings, generator: torch.Generator
    ) -> NoisyBatch:
        """The clean stream before the noisy one."""
        batch = super().corrupt(targets, schedule, times, generator)
        layout = self._layout(targets.labels.shape[-1], targets.present, generator.device)
        return replace(batch, layout=layout, context=targets.labels)

    def _layout(self, num_tokens: int, present: Tensor | None, device: torch.device) -> Layout:
        """Which of the 2 N tokens sees which."""
        assert self.block is not None
        place = torch.arange(num_tokens, device=device)
        block = place // self.block  # (N,)
        earlier = block.unsqueeze(1) > block
        own = block.unsqueeze(1) == block
        causal = place.unsqueeze(1) >= place
        # Rows see columns; both are the N clean tokens, then the N noisy ones.
        clean_rows = torch.cat([causal, torch.zeros_like(own)], 1)
        visible = torch.cat([clean_rows, torch.cat([earlier, own], 1)])[
            None, None
        ]  # (1, 1, 2N, 2N)
        if present is not None:
            # (B, R, 1, 2 N): a missing token is hidden in both streams.
            visible = visible & present.repeat(1, 1, 2).unsqueeze(2)
        # Both streams have the same positions; only the noisy one is predicted.
        return Layout(visible, place.repeat(2), num_tokens)

    def likelihood(
        self,
        model: LabelModel,
        prepared: Prepared,
        labels: Tensor,
        present: Tensor | None = None,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Exact for blocks of 1. Raises `UsageError` for longer ones."""
        if self.block != 1:
            raise UsageError(
                "the likelihood of blocks longer than 1 token is not known; "
                "use the read-out consensus, or process.block = 1"
            )
        twice = labels.repeat(1, 1, 2)  # (B, S, 2 N): the clean stream and the hidden one
        hidden = torch.arange(twice.shape[-1], device=labels.device) >= labels.shape[-1]
        state = clean_or_hidden(model, twice, hidden)
        t = torch.ones(1, 1, labels.shape[-1], device=labels.device)
        times = torch.cat([t - 1, t], -1)  # (1, 1, 2 N): 0 for clean tokens, 1 for noisy ones
        layout = self._layout(labels.shape[-1], present, labels.device)
        features = model.features(state, times, prepared, layout)
        return counted(token_log_probabilities(model, features, labels), present, counts)
