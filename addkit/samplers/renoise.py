"""Samplers whose tokens all follow one time.

The paper's, Gibbs and refine forget y_t; kappa, ancestral and DDIM carry a share of its noise over.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from addkit import sampling
from addkit.diffusion.noise import noised, signal_to_noise
from addkit.diffusion.randomness import draw_labels
from addkit.plugin.protocols import Chain, Sampler
from addkit.plugin.spec import Problem
from addkit.plugin.values import ChainStep, Clean, NoisyLabels, State
from addkit.samplers.settings import RenoiseConfig
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


class CarryNoise(Renoise):
    r"""Keep a share r of the noise that y_t has if the prediction is right.

    .. math::
        y_s = b\sqrt{\bar\alpha_s}\,\hat y_0 + \sqrt{1-\bar\alpha_s}\,
              (r\,\hat\epsilon + \sqrt{1 - r^2}\,\epsilon), \quad
        \hat\epsilon = \frac{y_t - b\sqrt{\bar\alpha_t}\,\hat y_0}{\sqrt{1-\bar\alpha_t}}
    """

    keeps_y_t = True

    @abstractmethod
    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """The share r, in [0, 1], for a step from label signal-to-noise m_t to m_s >= m_t."""

    def step(
        self, chain: Chain, now: NoisyLabels, logits: Tensor, clean: Clean, s: Tensor, done: float
    ) -> NoisyLabels:
        """The clean label with noise of time s, a share of which is that of y_t."""
        model, y_t, scale = chain.model, now.state.y_t, chain.model.schedule.scale
        if y_t is None:
            raise ValueError("a state without y_t has no noise to carry over")
        alpha_t, alpha_s = model.schedule.alpha_bar(now.t), model.schedule.alpha_bar(s)
        r = self.carry(signal_to_noise(alpha_t, scale), signal_to_noise(alpha_s, scale))
        # (B, R, N, K), and (..., 1) that broadcasts to it.
        y_0, signal, r = clean.dense(model.num_classes), alpha_t.unsqueeze(-1), r.unsqueeze(-1)
        # At t = 0 there is no noise to divide by; settled tokens get there.
        eps_hat = (y_t - scale * signal.sqrt() * y_0) / (1 - signal).clamp_min(1e-6).sqrt()
        eps = torch.randn(eps_hat.shape, generator=chain.generator, device=eps_hat.device)
        # Variances r^2 and 1 - r^2 add up to 1; the clamp is for r a rounding above 1.
        noise = r * eps_hat + (1 - r.square()).clamp_min(0).sqrt() * eps
        y_s = noised(y_0, noise, alpha_s, scale).y_t  # (B, R, N, K)
        return replace(now, state=model.read(y_s, alpha_s, noise), t=s)


class Kappa(CarryNoise):
    r"""From re-noising (kappa = 0) to the true posterior (kappa = 1): r = kappa m_t / m_s.

    With kappa = 1 the step's carried part is sqrt(a)(1 - abar_s)/sqrt(1 - abar_t) eps_hat with
    a = abar_t / abar_s, the posterior mean's coefficient (Ho et al. 2020, equation 7), and its
    fresh part has the posterior's variance. `kappa` lies in [0, 1].
    """

    def __init__(self, kappa: float) -> None:
        self.kappa = kappa

    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """r, in [0, 1]."""
        # Signal only grows along a chain, so that a ratio above 1 is a rounding; m_s = 0 is a step
        # that stays at pure noise, where m_t = 0 too.
        return self.kappa * (m_t / m_s.clamp_min(1e-12)).clamp(max=1.0)


class Ancestral(Kappa):
    """Draw y_s from q(y_s | y_t, y_0): kappa = 1."""

    def __init__(self) -> None:
        super().__init__(1.0)


class Ddim(CarryNoise):
    r"""DDIM with the noise level eta: r = sqrt(1 - eta^2 (1 - m_t^2 / m_s^2)).

    sigma^2 = eta^2 (1 - abar_s)(1 - m_t^2 / m_s^2) is the usual eta (Song et al. 2021, equation
    16) written in signal-to-noise, and r^2 = 1 - sigma^2 / (1 - abar_s).
    """

    def __init__(self, eta: float = 0.0) -> None:
        self.eta = eta

    def carry(self, m_t: Tensor, m_s: Tensor) -> Tensor:
        """r, in [0, 1]."""
        share = (m_t / m_s.clamp_min(1e-12)).clamp(max=1.0).square()
        return (1 - self.eta**2 * (1 - share)).sqrt()


def renoise(config: RenoiseConfig, problem: Problem) -> Sampler:
    """The sampler of a recipe's `renoise`, with or without carried noise."""
    # Without carried noise y_t need not be kept, which no K-wide draw then pays for.
    return Kappa(config.kappa) if config.kappa else Renoise()
