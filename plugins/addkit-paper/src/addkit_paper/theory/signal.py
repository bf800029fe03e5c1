"""The information in a noisy label of many classes, and the loss of it in a narrow network."""

from __future__ import annotations

import math

import torch

from addkit.diffusion import probability_arg_max
from addkit.diffusion.information import mutual_information
from addkit_paper.theory.findings import Measurement, Result


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rank_bottleneck() -> list[Measurement]:
    classes = 200
    return [
        Measurement(
            f"K = {classes}, width {width}{', tanh' if bent else ''}: least squared error",
            max(0.0, 1 - width / classes),
            _least_error(classes, width, bent),
            0.005,
            ">=" if bent else "=",
        )
        for width, bent in ((64, False), (64, True), (128, False), (256, False))
    ]


def _least_error(classes: int, width: int, bent: bool, rows: int = 20000) -> float:
    """Mean squared error of the noise, predicted by the best linear layer on a trunk that reads it.

    The layer is fitted to as many draws as it is tested on, which adds a share width / rows.
    """
    source = _generator(0)
    trunk = torch.randn(classes, width, generator=source, dtype=torch.float64) / math.sqrt(classes)
    fitted, fresh = torch.randn(
        2, rows, classes, generator=source, dtype=torch.float64
    )  # (rows, K) each
    seen, new = fitted @ trunk, fresh @ trunk
    if bent:
        seen, new = seen.tanh(), new.tanh()
    # Least squares by the normal equations: rows far exceed the width.
    # The features of a trunk wider than K depend on each other: the inverse is a pseudo-inverse.
    layer = torch.linalg.pinv(seen.T @ seen, hermitian=True) @ (seen.T @ fitted)
    return float((fresh - new @ layer).square().mean())


def _linear_embedding() -> list[Measurement]:
    measurements = []
    for classes, width in ((1000, 64), (1000, 512)):
        gram, whitened = _signal_kept(classes, width)
        what = f"K = {classes}, d = {width}: signal-to-noise power kept,"
        tolerance = 0.05 * width / classes
        measurements += [
            Measurement(f"{what} matched", width / (classes + width), gram, tolerance),
            Measurement(f"{what} best linear", width / classes, whitened, 1e-6),
        ]
    return measurements


def _signal_kept(classes: int, width: int) -> tuple[float, float]:
    """Signal-to-noise power kept in W y_t by the matched rule, and by the best linear rule.

    With columns w_k the noise W eps has covariance W W^T: the matched rule keeps
    |w_k|^4 / sum_j (w_k w_j)^2, the best one w_k^T (W W^T)^-1 w_k. Means over k.
    """
    # float64: the whitened sum must equal width / K to 1e-6.
    weight = torch.randn(width, classes, generator=_generator(1), dtype=torch.float64)
    gram = weight.T @ weight  # (K, K)
    matched = gram.diagonal().square() / gram.square().sum(1)
    best = (weight * torch.linalg.solve(weight @ weight.T, weight)).sum(0)
    return float(matched.mean()), float(best.mean())


def _critical_m() -> list[Measurement]:
    measurements = []
    for classes in (10**3, 10**6, 10**12, 10**18):
        leading = math.sqrt(2 * math.log(classes))
        measured, power = _half(classes), round(math.log10(classes))
        what = f"K = 10^{power}: m where P(arg max) = 1/2"
        measurements.append(Measurement(what, _second_order(classes), measured, 0.05))
        # The next term of m / leading is of the order ln ln K / ln K.
        slack = math.log(4 * math.pi * math.log(classes)) / (2 * leading**2)
        measurements.append(
            Measurement("the same over sqrt(2 ln K)", 1.0, measured / leading, slack)
        )
    bits = math.log2(10112)
    share = float(mutual_information(torch.tensor(_half(10112)), 10112)) / bits
    return [
        *measurements,
        Measurement("K = 10112: share of its bits revealed there", 0.5, share, 0.0, ">="),
    ]


GUMBEL_MEAN = 0.5772156649015329
"""Mean of the standard Gumbel distribution, Euler's constant."""


def _second_order(classes: int) -> float:
    """The mean of the largest of K normals, to second order (Gumbel's limit)."""
    leading = math.sqrt(2 * math.log(classes))
    return leading - (math.log(4 * math.pi * math.log(classes)) / 2 - GUMBEL_MEAN) / leading


def _half(classes: int) -> float:
    """The m at which P(arg max y_t = y_0) = 1/2, by bisection."""
    # P(arg max) rises with m; twice the leading term is far above a half.
    low, high = 0.0, 2 * math.sqrt(2 * math.log(classes))
    for _ in range(30):
        middle = (low + high) / 2
        right = float(probability_arg_max(torch.tensor(middle, dtype=torch.float64), classes))
        low, high = (middle, high) if right < 0.5 else (low, middle)
    return low


RESULTS = (
    Result(
        "rank-bottleneck",
        "A trunk narrower than K cannot predict the noise: K - d of its directions stay unknown.",
        "min E|eps - eps_hat|^2 / K = 1 - d / K for eps_hat = W h, h of width d < K",
        _rank_bottleneck,
    ),
    Result(
        "linear-embedding",
        "A linear embedding narrower than K mixes all K noises into each coordinate and loses most "
        "of the label.",
        "signal-to-noise power of W y_t: times d / (K + d) read against the label's column, d / K "
        "by the best linear rule",
        _linear_embedding,
    ),
    Result(
        "critical-m",
        "The label shows above the largest of K - 1 noises at an m that grows as the root of the "
        "logarithm of K.",
        "P(arg max y_t = y_0) = 1/2 at m = sqrt(2 ln K) (1 + o(1))",
        _critical_m,
    ),
)
