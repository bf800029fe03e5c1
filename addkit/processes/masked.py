"""Masked (absorbing) diffusion, the paper's PDD baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from addkit.diffusion.noise import draw_times
from addkit.plugin.protocols import Schedule
from addkit.plugin.values import Layout, NoisyBatch, Targets, TimeSettings
from addkit.processes.gaussian import GaussianProcess

# Without it a row of next to no masks would outweigh a whole batch.
SMALLEST = 1e-3
"""Floor of the share of masks in the weight 1/t."""


class MaskedProcess(GaussianProcess):
    r"""Each token is a mask with chance t, else clean; masks alone have a loss.

    .. math:: L = E_t\, w(t) \sum_{n: masked} -\log p(y_n \mid y_{clean}, c)

    w = 1 (MaskGIT, Chang et al. 2022), or 1/t (MDLM, Sahoo et al. 2024: a bound of the negative
    log-likelihood). A mask is a token at t = T, and sampling settles tokens that wait there, so
    samplers and likelihood are the Gaussian ones with levels 0 and T only. `weight` is w.
    """

    def __init__(self, weight: Literal["none", "1/t"] = "none") -> None:
        self.weight = weight

    def corrupt(
        self, targets: Targets, schedule: Schedule, times: TimeSettings, generator: torch.Generator
    ) -> NoisyBatch:
        """Masks at drawn shares; the same share of rows as ADD's is all masks."""
        batch, reuse, num_tokens = targets.labels.shape
        # One share of masks for all of a row, never warped: the map is learnt from noise levels.
        times = replace(times, warp=None, token_times=(1.0, 0.0, 0.0))
        share = draw_times((batch, reuse, num_tokens), generator, times)  # (B, R, N)
        u = torch.rand(targets.labels.shape, generator=generator, device=generator.device)
        masked = u < share
        # A missing label stays a mask, which its weight of 0 keeps out of the loss.
        if targets.known is not None:
            masked = masked | ~targets.known
        t = masked.float()
        base = torch.ones_like(t) if targets.weights is None else targets.weights
        weights, norm = base * t, None
        if self.weight == "1/t":
            # By the number of tokens, not by the sum of the weights: MDLM's bound is a mean over
            # all tokens, masked or not.
            weights, norm = weights / share.clamp_min(SMALLEST), base.sum()
        # No `sampled_t`: 0 and 1 are the only times here, and no map is learnt from them.
        # Each token sees every present one, (B, R, 1, N).
        layout = None if targets.present is None else Layout(targets.present.unsqueeze(2))
        return NoisyBatch(targets.labels, 1 - t, t, weights, norm, layout)
