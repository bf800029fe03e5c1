"""The posterior-mean embedding, with a draw whose cost does not grow with K."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from addkit.diffusion.noise import corrupt, log_likelihood_scale, signal_to_noise
from addkit.embeddings.linear import FactorCache, cholesky

FAST_CLASSES = 512
"""Up to here the plain draw is as cheap as the fast one."""


class PosteriorEmbedding(nn.Module):
    r"""h = softmax(c_t y_t) E, c_t = b sqrt(alpha_bar) / (1 - alpha_bar).

    Under a uniform prior the softmax is the exact posterior p(y_0 | y_t), so h is the posterior
    mean of the label's embedding. It keeps the label at any K, and needs no time.

    Args:
        num_classes: K.
        state_width: D.
        scale: b of the schedule.
        spread: standard deviation of the rows of E at the start.
        largest: M, see `draw`.
    """

    def __init__(
        self, num_classes: int, state_width: int, scale: float, *, spread: float, largest: int
    ) -> None:
        super().__init__()
        self.scale, self.largest = scale, largest
        weight = nn.init.normal_(torch.empty(num_classes, state_width), std=spread)
        self.weight = nn.Parameter(weight)
        self.moments = FactorCache(_moments)

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """(B, R, N, K) -> (B, R, N, D)."""
        # (B, R, N, K): the exact posterior under a uniform prior.
        posterior = (log_likelihood_scale(alpha_bar, self.scale).unsqueeze(-1) * y_t).softmax(-1)
        return posterior @ self.weight

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        """Freshly corrupted labels (B, R, N) -> h, (B, R, N, D).

        The unnormalised weights are exp(m^2 + m z_0) for the label and exp(m z_k) for the others.
        The M largest of the K - 1 others are drawn exactly (order statistics) and given different
        random classes; the sum over the rest is a Gaussian with its exact mean and variance. That
        Gaussian is the one approximation (docs/lab/speed.md has its distance to the plain draw).
        """
        if len(self.weight) <= max(FAST_CLASSES, 8 * self.largest):
            noisy = corrupt(labels, alpha_bar, len(self.weight), generator, self.scale)
            return self.read(noisy.y_t, alpha_bar)
        m = signal_to_noise(alpha_bar.float(), self.scale)
        if m.numel() == 1 and float(m) == 0:
            # All at t = T: every class weighs the same, so h is the mean row.
            return self.moments(self.weight)[0].expand(*labels.shape, -1)
        m = m.expand(labels.shape).reshape(-1, 1)  # (B R N, 1)
        # Draws only for rows whose label has a signal; the others get the mean row as above.
        rows, informative = labels.flatten(), (m > 0).squeeze(1)
        if bool(informative.all()):
            h = self._draw_rows(rows, m, generator)
        else:
            h = self.moments(self.weight)[0].expand(len(rows), -1).clone()
            h[informative] = self._draw_rows(rows[informative], m[informative], generator)
        return h.reshape(*labels.shape, -1)

    def _draw_rows(self, labels: Tensor, m: Tensor, generator: torch.Generator) -> Tensor:
        """(rows,), (rows, 1) -> (rows, D); weights are relative to the largest exponent."""
        num_classes, width = self.weight.shape
        device, rows = labels.device, len(labels)
        # One call for the label's noise, the tail's sum and the tail's direction (D).
        normal = torch.randn((rows, width + 2), generator=generator, device=device)
        # (rows, M) each, falling.
        top, classes = _largest(labels, num_classes, self.largest, generator)
        true = m.square() + m * normal[:, :1]  # exponent of the label, (rows, 1)
        rest = num_classes - 1 - self.largest
        log_mean, log_variance = _tail_moments(m, top[:, -1:], rest)
        # Exponents reach m^2, beyond fp32's range: all weights are relative to the largest.
        peak = torch.maximum(torch.maximum(true, m * top[:, :1]), log_mean)
        heads = torch.cat([true, m * top], 1).sub(peak).exp()  # (rows, 1 + M)
        mean, deviation = (log_mean - peak).exp(), (0.5 * log_variance - peak).exp()
        tail = (mean + deviation * normal[:, 1:2]).clamp_min(0.0)
        # (rows, 1 + M): the label and the M largest others.
        ids = torch.cat([labels.unsqueeze(1), classes], 1)
        centre, factor = self.moments(self.weight)
        # Each class outside the top gets an even part of the tail: all of them, less the top ones.
        each = tail / rest
        top_rows = functional.embedding_bag(
            ids, self.weight, per_sample_weights=heads - each, mode="sum"
        )
        scatter = deviation * (normal[:, 2:] @ factor.T)  # (rows, D)
        summed = top_rows + each * (num_classes * centre) + scatter
        return summed / (heads.sum(1, keepdim=True) + tail)


def _moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the rows of E, (D,), and the Cholesky factor of their covariance, (D, D)."""
    centre = weight.mean(0)
    rows = weight - centre
    return centre, cholesky(rows.T @ rows / len(weight))


def _largest(
    labels: Tensor, num_classes: int, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The M largest of K - 1 standard normals, falling, (rows, M), and their classes.

    log U_(1) = log V_1 / n, log U_(j+1) = log U_(j) + log V / (n - j) with n = K - 1, and
    z = Phi^-1(U) by the upper tail, which fp32 resolves. The classes are different ones, all but
    the label, each order of them as probable as any other.
    """
    device, shape = labels.device, (len(labels), count)
    uniform = torch.rand(shape, generator=generator, device=device).clamp_min(1e-12)
    # (M,): how many normals are not drawn yet.
    left = num_classes - 1 - torch.arange(count, device=device)
    upper = -torch.expm1((uniform.log() / left).cumsum(1))
    z = -torch.special.ndtri(upper.clamp(1e-30, 1.0 - 1e-7))
    # Floyd's sampling without replacement: of n = K - 1 classes a set of M, each as probable. Step
    # j adds a uniform one of the first j + 1, or j itself where that is in the set already.
    steps = torch.arange(num_classes - 1 - count, num_classes - 1, device=device)
    picked = torch.rand(shape, generator=generator, device=device) * (steps + 1)
    wrong = picked.long().minimum(steps)  # fp32 may round up to j + 1.
    for index in range(1, count):
        taken = (wrong[:, :index] == wrong[:, index : index + 1]).any(1)
        wrong[:, index] = torch.where(taken, steps[index], wrong[:, index])
    # Floyd's order is not uniform, and the order decides which class gets which normal.
    order = torch.rand(shape, generator=generator, device=device).argsort(1)
    wrong = wrong.gather(1, order)
    # One class fewer, then shifted past the label: uniform over the others.
    return z, wrong + (wrong >= labels.unsqueeze(1)).long()


def _tail_moments(m: Tensor, below: Tensor, count: int) -> tuple[Tensor, Tensor]:
    r"""Log mean and log variance of \sum exp(m z) over `count` normals below a bound c.

    E[e^{mz} | z < c] = exp(m^2/2) \Phi(c - m) / \Phi(c). The variance is the centred one: with the
    top ones drawn exactly, it is the centred moment that spreads the sum.
    """
    log_phi = torch.special.log_ndtr
    # In logarithms: below may be far in the upper tail, and m may be large.
    base = log_phi(below)
    first = 0.5 * m.square() + log_phi(below - m) - base
    second = 2 * m.square() + log_phi(below - 2 * m) - base
    # second - first^2 in logarithms; the clamp keeps rounding from making it negative.
    gap = -torch.expm1((2 * first - second).clamp(max=-1e-12))
    return first + math.log(count), second + gap.log() + math.log(count)
