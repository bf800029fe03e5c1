"""Samplers whose tokens all follow one time and forget y_t: the paper's, Gibbs and refine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from addkit import sampling
from addkit.diffusion.randomness import draw_labels
from addkit.plugin.protocols import Chain
from addkit.plugin.values import ChainStep, Clean, NoisyLabels, State
from addkit.sampling.loop import denoise


class Renoise:
    r"""Noise the clean label afresh and forget y_t (section 3.2). The base of other samplers.

    .. math:: y_s = b\sqrt{\bar\alpha_s}\,\hat y_0 + \sqrt{1-\bar\alpha_s}\,\epsilon
    """

    keeps_y_t = False
    """True if `step` reads y_t, so that the embedding must not skip it."""

    def sample(self, chain: Chain) -> Iterator[ChainStep]:
        """Every step of the loop."""
        return denoise(self, cast("sampling.Chain", chain))

    def steps(self, asked: int, num_tokens: int) -> int:
        """As many as asked."""
        return asked

    def start(self, chain: Chain) -> NoisyLabels:
        """Pure noise, whatever the schedule leaves at t = 1, or y_T = 0."""
        device = chain.generator.device
        if chain.settings.start == "zero":
            return zero_start(chain, keep_y_t=self.keeps_y_t)
        # Any label: at alpha_bar = 0 nothing of it is left. 0 and 1 themselves, not the schedule's
        # values at t = T, which may leave a little signal.
        labels = torch.zeros(chain.shape, dtype=torch.long, device=device)
        zero, one = torch.zeros(1, 1, 1, device=device), torch.ones(1, 1, 1, device=device)
        return NoisyLabels(chain.noise(Clean(labels), zero, keep_y_t=self.keeps_y_t), one)

    def clean(self, chain: Chain, logits: Tensor) -> Clean:
        """The to-one operator's label."""
        return chain.to_one(logits, chain.generator)

    def step(
        self, chain: Chain, now: NoisyLabels, logits: Tensor, clean: Clean, s: Tensor, done: float
    ) -> NoisyLabels:
        """The clean label with fresh noise of time s."""
        return replace(now, state=chain.noise(clean, chain.model.schedule.alpha_bar(s)), t=s)


class Gibbs(Renoise):
    """Draw the label from the prediction instead of calling the to-one operator."""

    def clean(self, chain: Chain, logits: Tensor) -> Clean:
        """A label drawn from the prediction."""
        return draw_labels(logits, chain.generator)


class Refine(Renoise):
    """From y_T = 0, y_s = b sqrt(alpha_bar_s) y_0 without any noise: the same answer each time.

    With the exact denoiser five such steps come within a point of the joint mode, where the noisy
    loop drifts to draws (docs/method.md).
    """

    def start(self, chain: Chain) -> NoisyLabels:
        """y_T = 0."""
        return zero_start(chain)

    def step(
        self, chain: Chain, now: NoisyLabels, logits: Tensor, clean: Clean, s: Tensor, done: float
    ) -> NoisyLabels:
        """The clean label scaled down to time s."""
        model, alpha_bar = chain.model, chain.model.schedule.alpha_bar(s)
        # (B, R, N, K): the mean of q(y_s | y_0), without its noise.
        y_s = model.schedule.scale * alpha_bar.sqrt().unsqueeze(-1) * clean.dense(model.num_classes)
        return replace(now, state=model.read(y_s, alpha_bar), t=s)


def zero_start(chain: Chain, *, keep_y_t: bool = False) -> NoisyLabels:
    """y_T = 0, which carries no information at all; the same for every chain."""
    model, device = chain.model, chain.generator.device
    y_t = torch.zeros(1, 1, 1, model.num_classes, device=device)
    # Embedded once and expanded, (1, 1, 1, D) -> (B, R, N, D): no copy is made.
    h = model.read(y_t, torch.zeros(1, 1, 1, device=device)).h.expand(*chain.shape, -1)
    needed = keep_y_t or chain.settings.keep_y_t or model.needs_y_t
    state = State(h, y_t.expand(*chain.shape, -1) if needed else None)
    return NoisyLabels(state, torch.ones(1, 1, 1, device=device))
