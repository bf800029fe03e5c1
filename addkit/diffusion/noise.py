r"""The Gaussian forward process on one-hot labels (section 3.2).

.. math::
    q(y_t \mid y_0) = \mathcal N(y_t;\ b\sqrt{\bar\alpha_t}\,y_0,\ (1-\bar\alpha_t) I)

b is the input scale (1 in the paper). Two functions of the noise level describe one noisy label
completely: the label signal-to-noise m and the log-likelihood scale c_t. At the end of the file:
the times t at which training and chains read it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from addkit.plugin.values import Noised, TimeSettings

MIN_NOISE = 1e-6
"""Floor of 1 - alpha_bar, so that m and c_t stay finite at t = 0."""


def signal_to_noise(alpha_bar: Tensor, scale: float = 1.0) -> Tensor:
    """Signal over noise of the label, m = b sqrt(alpha_bar / (1 - alpha_bar)), in [0, 1000 b]."""
    return scale * (alpha_bar / (1 - alpha_bar).clamp_min(MIN_NOISE)).sqrt()


def log_likelihood_scale(alpha_bar: Tensor, scale: float = 1.0) -> Tensor:
    r"""c_t = b sqrt(alpha_bar) / (1 - alpha_bar): c_t y_t is the log-likelihood of each class.

    log q(y_t | k) = c_t y_t[k] + const, because the one-hot vectors all have the same norm.
    """
    return scale * alpha_bar.sqrt() / (1 - alpha_bar).clamp_min(MIN_NOISE)


def unit_alpha_bar(scale: float = 1.0) -> float:
    """The signal power at which c_t = 1, so that a noisy label y_t is its own log-likelihood.

    Solves b sqrt(alpha_bar) = 1 - alpha_bar; (3 - sqrt(5)) / 2 for b = 1.
    """
    root = (math.sqrt(scale**2 + 4) - scale) / 2
    return root**2


def alpha_bar_at(m: Tensor, scale: float = 1.0) -> Tensor:
    """The inverse of `signal_to_noise`: alpha_bar = m^2 / (b^2 + m^2)."""
    return m.square() / (scale**2 + m.square())


def corrupt(
    labels: Tensor,
    alpha_bar: Tensor,
    num_classes: int,
    generator: torch.Generator,
    scale: float = 1.0,
) -> Noised:
    """Draw y_t from q(y_t | y_0) in fp32.

    Args:
        labels: class ids, (B, R, N).
        alpha_bar: broadcastable to (B, R, N), in [0, 1].
        num_classes: K.
        generator: source of the noise, on the device of `labels`.
        scale: b.
    """
    noise = torch.randn(
        *labels.shape, num_classes, generator=generator, device=labels.device, dtype=torch.float32
    )
    return noised(functional.one_hot(labels, num_classes).float(), noise, alpha_bar, scale)


def noised(clean: Tensor, noise: Tensor, alpha_bar: Tensor, scale: float) -> Noised:
    """y_t for a clean label (one-hot or soft, (B, R, N, K)) and given noise."""
    signal = alpha_bar.float().unsqueeze(-1)  # (..., 1)
    # The paper's forward process (section 3.2), with the input scale b.
    y_t = scale * signal.sqrt() * clean + (1 - signal).sqrt() * noise
    return Noised(y_t, noise)


def draw_times(
    shape: tuple[int, int, int], generator: torch.Generator, settings: TimeSettings
) -> Tensor:
    """Training times (B, R, N).

    t ~ U[0, 1] (section 3.2), in strata inside an image, t_j = ((u + j / R) mod 1) ** power, so
    that the R copies are distinct (section 3.3); `warp` may replace the power. A share
    `pure_noise` of rows sits at t = 1. Of the others, the tokens of a row share one t, or each
    has its own, or each is clean (t = 0) with chance 1 - u and else at t = 1.
    """
    batch, reuse, num_tokens = shape
    device = generator.device
    u = torch.rand((batch, 1 if settings.stratified else reuse), generator=generator, device=device)
    if settings.stratified:
        u = (u + torch.arange(reuse, device=device) / reuse) % 1.0  # (B, R)
    # From u, uniform in [0, 1), to the time that it stands for.
    warp = settings.warp or (lambda u: u**settings.power)
    t = warp(u).unsqueeze(-1).expand(shape)  # (B, R, N)
    # Nothing is drawn where no row needs it, so that recipes of one label draw as they always did.
    together, apart, _ = settings.token_times
    total = sum(settings.token_times)
    if num_tokens > 1 and together < total:
        # The kind of each row is drawn for the row by itself.
        kind = torch.rand((*u.shape, 1), generator=generator, device=device) * total
        each = torch.rand(shape, generator=generator, device=device)
        clean_or_noise = (each < u.unsqueeze(-1)).float()
        # (B, R, N); a clean-or-noise row keeps its share of noise, u, unwarped.
        own = torch.where(kind < together + apart, warp(each), clean_or_noise)
        t = torch.where(kind < together, t, own)
    at_noise = even_rows(batch, reuse, settings.pure_noise, generator)
    return torch.where(at_noise.unsqueeze(-1), torch.ones_like(t), t)


def even_rows(batch: int, reuse: int, share: float, generator: torch.Generator) -> Tensor:
    """Marks a share of the rows (B, R), evenly: each image has its share to within one."""
    u = torch.rand((batch, 1), generator=generator, device=generator.device)
    # Row j is marked if an integer lies in (u + j share, u + (j + 1) share].
    edges = torch.arange(reuse + 1, device=generator.device) * share + u
    return edges.floor().diff(dim=1) > 0


def time_grid(steps: int) -> Tensor:
    """The times a chain of n steps visits, and where it ends: 1, (n-1)/n, ..., 1/n, 0; (n + 1,)."""
    # fp64, so that 1/n and its multiples are exact to fp32 whatever n is.
    return torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
