r"""The Gaussian forward process on one-hot labels (section 3.2).

.. math::
    q(y_t \mid y_0) = \mathcal N(y_t;\ b\sqrt{\bar\alpha_t}\,y_0,\ (1-\bar\alpha_t) I)

b is the input scale (1 in the paper). Two functions of the noise level describe one noisy label
completely: the label signal-to-noise m and the log-likelihood scale c_t.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from addkit.plugin.values import Noised

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
