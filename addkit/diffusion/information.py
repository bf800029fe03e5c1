r"""The information in one noisy label: exact functions of the label signal-to-noise m and of K.

The label is uniform over K classes, and y_t its noisy one-hot vector. Divided by the noise, y_t is
m in the label's place and 0 elsewhere, plus K standard normals; so m alone decides.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.diffusion.exact import probability_arg_max
from addkit.diffusion.noise import signal_to_noise
from addkit.plugin.protocols import Schedule

INFORMATIVE = (0.05, 0.95)
"""A time is informative if y_t carries between these shares of the label's log2 K bits."""

_STEP = 0.35
"""Of both trapezoid rules. The integrands are analytic in a strip of half width pi / 2, so that
the rule errs by about exp(-pi^2 / step) = 6e-13."""


def log_snr(m: Tensor) -> Tensor:
    """ln m^2, the label's log signal-to-noise ratio in nats; -inf where there is no signal."""
    return 2 * m.log()


def mutual_information(m: Tensor, num_classes: int) -> Tensor:
    r"""I(label; y_t) in bits for a uniform label, from 0 (m = 0) to log2 K. float64, shape of m.

    With S the sum of the K unnormalised posterior weights, :math:`S = e^{m^2 + m z_0} +
    \sum_{j=1}^{K-1} e^{m z_j}`, the information is :math:`\ln K + m^2 - E \ln S` nats.
    A Laplace transform turns K normals into two integrals over one variable each, exactly:

    .. math:: E \ln S = \int_{-\infty}^{\infty}
        \left[e^{-e^v} - L(e^{v + m^2})\,L(e^v)^{K-1}\right] dv, \quad
        L(u) = \int \phi(z)\, e^{-u e^{m z}}\,dz

    because :math:`\ln S = \int_0^\infty (e^{-u} - e^{-u S})\,du/u`. Both by the trapezoid rule; the
    error is below 1e-9 bits at any K up to 10^6. A millisecond or so for each distinct m.

    Args:
        m: any shape, >= 0.
        num_classes: K >= 2.
    """
    most = math.sqrt(2 * math.log(num_classes)) + 7  # Beyond, less than 1e-8 bits are missing.
    levels = m.double().clamp(max=most).flatten().tolist()
    # Schedules repeat their ends, and each distinct m costs a millisecond.
    nats = {level: _nats(level, num_classes) for level in set(levels)}
    bits = torch.tensor([nats[level] for level in levels], dtype=torch.float64) / math.log(2)
    return bits.clamp(0.0, math.log2(num_classes)).view(m.shape)


def _nats(m: float, num_classes: int) -> float:
    # Outside these ends the integrand is negligible: about e^-30 on the left.
    low = -(m * m + 8 * m + 30 + math.log(num_classes))
    high = 4 + max(0.0, 8 * m - m * m)
    v = torch.arange(low, high, _STEP, dtype=torch.float64)
    others = (num_classes - 1) * _log_laplace(v, m)  # (points,)
    both = (others + _log_laplace(v + m * m, m)).exp()
    mean_log_sum = _STEP * float(((-v.exp()).exp() - both).sum())
    return math.log(num_classes) + m * m - mean_log_sum


def _log_laplace(v: Tensor, m: float) -> Tensor:
    """ln E exp(-exp(v + m z)), z standard normal, by way of its distance to 1."""
    # m narrows the strip in which the integrand is analytic, and the step with it.
    step = min(0.5, _STEP / max(m, 1e-9))
    z = torch.arange(-8.5, 8.5 + step, step, dtype=torch.float64)
    weights = step / math.sqrt(2 * math.pi) * (-0.5 * z.square()).exp()
    # (points,): 1 - L, since L itself rounds to 1 on the left.
    missing = -torch.expm1(-(v.unsqueeze(1) + m * z).exp()) @ weights
    return torch.log1p(-missing.clamp(max=1.0))


@functools.cache
def informative_range(num_classes: int) -> tuple[float, float]:
    """The m between which y_t carries `INFORMATIVE` shares of the label's bits, to 1e-4."""
    # Cached by K: each end takes some 17 evaluations of the information.
    levels = []
    for share in INFORMATIVE:
        bits = share * math.log2(num_classes)
        # The information rises with m, so that bisection finds the level.
        low, high = 0.0, math.sqrt(2 * math.log(num_classes)) + 7
        while high - low > 1e-4:
            middle = (low + high) / 2
            below = float(mutual_information(torch.tensor(middle), num_classes)) < bits
            low, high = (middle, high) if below else (low, middle)
        levels.append((low + high) / 2)
    return levels[0], levels[1]


def informative_share(schedule: Schedule, num_classes: int, points: int = 2000) -> float:
    """The share of training times at which y_t has some information on the label, but not all.

    Informative is a time with mutual information between 5 and 95 % of log2 K. At K = 10 that is m
    from 0.5 to 3.6, the zone in which an arg-max-and-re-noise chain changes its mind; it moves up
    with K, to 1.0 and 5.4 at K = 50,257. Times are drawn as training does, u uniform and
    t = u ** t_power; the share of rows that a recipe puts at pure noise (`training.pure_noise`) is
    left out.

    Args:
        schedule: its alpha_bar, b and t_power.
        num_classes: K of one token, >= 2.
        points: number of times, evenly spaced in u.

    Returns:
        In [0, 1]. A large share is not yet a good recipe: p(label | image) is learnt near t = T
        (docs/theory.md).
    """
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points  # midpoints of equal strata
    m = signal_to_noise(schedule.alpha_bar(u**schedule.t_power).double(), schedule.scale)
    low, high = informative_range(num_classes)
    return float(((m > low) & (m < high)).double().mean())


@dataclass(frozen=True, slots=True)
class Profile:
    """Noise levels of a schedule for a label of K classes. Tensors of one length, float64."""

    t: Tensor
    alpha_bar: Tensor
    log_snr: Tensor
    """In nats; -inf where there is no signal."""
    probability: Tensor
    """P(arg max y_t is the true label), from 1 / K to 1."""
    bits: Tensor
    """I(label; y_t)."""
    share: float
    """`informative_share`."""


def profile(schedule: Schedule, num_classes: int, times: Tensor) -> Profile:
    """The noise of a schedule on a label of K classes, at given times in [0, 1]."""
    t = times.double()
    alpha_bar = schedule.alpha_bar(t).double()
    m = signal_to_noise(alpha_bar, schedule.scale)
    return Profile(
        t=t,
        alpha_bar=alpha_bar,
        log_snr=log_snr(m),
        probability=probability_arg_max(m, num_classes),
        bits=mutual_information(m, num_classes),
        share=informative_share(schedule, num_classes),
    )
