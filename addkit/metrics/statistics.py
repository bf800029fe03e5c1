"""Intervals of means and differences, and the verdict that they allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Verdict = Literal["better", "worse", "not distinguishable", "needs 3 seeds"]

FEWEST_SEEDS = 3
"""With fewer seeds no claim is made, whatever the interval."""
LEVEL = 0.95
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval, in the value's own unit."""

    mean: float
    low: float
    high: float
    n: int
    """Observations behind it: seeds or images."""


def paired_interval(
    differences: Sequence[float] | Tensor, least_deviation: float = 0.0
) -> Interval:
    r"""Student's t interval of a mean: d +- t_{0.975, n-1} s / sqrt(n).

    Differences within pairs: of two arms with the same seed, or of two answers to one image. Where
    all agree it has no width, whatever the truth, unless a least deviation is given. Raises
    `ValueError` for fewer than two differences.

    Args:
        differences: (n,), n >= 2.
        least_deviation: s counts for at least this.
    """
    values = torch.as_tensor(differences, dtype=torch.float64)  # (n,)
    n = len(values)
    if n < 2:
        raise ValueError(f"{n} differences have no spread; an interval needs at least 2")
    mean = float(values.mean())
    deviation = max(float(values.std()), least_deviation)
    # Student's t, not 1.96: with 3 seeds the 97.5 % quantile is 4.3.
    half = t_quantile((1 + LEVEL) / 2, n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t: the inverse of its distribution function, by bisection.

    Args:
        probability: in (0, 1).
        degrees: degrees of freedom, a whole number >= 1.
    """
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    # Own code: neither torch nor math has the quantile, and scipy is no dependency.
    # Bisect the angle atan(t / sqrt(degrees)), whose range is finite.
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # 60 halvings are below a double's precision.
        middle = (low + high) / 2
        if _t_within(middle, degrees) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _t_within(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan(angle)): Abramowitz and Stegun 26.7.3 and 26.7.4, exact."""
    cosine, odd = math.cos(angle), degrees % 2
    # Each term is the one before times cos^2 times 2/3, 4/5, ... (odd) or 1/2, 3/4, ... (even).
    # In closed form, so no series is cut off.
    k = torch.arange(odd + 1, max(odd + 1, degrees - 2), 2, dtype=torch.float64)
    factors = cosine**2 * k / (k + 1)
    terms = 1 + float(factors.cumprod(0).sum())
    if not odd:
        return math.sin(angle) * terms
    if degrees == 1:
        return 2 * angle / math.pi
    return 2 / math.pi * (angle + math.sin(angle) * cosine * terms)


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The percentile bootstrap (Efron 1979) of a mean: 1,000 resamples of as many values, drawn
    with replacement, and the 2.5 and 97.5 percentiles of their means.

    The same values and seed give the same interval. It is about other images, not about other
    training seeds. Where all values agree it has no width, whatever the truth. Raises `ValueError`
    if there are no values.

    Args:
        values: one number (or bool) for each image.
        seed: random seed of the resampling.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        raise ValueError("no values to take the mean of")
    generator, n = np.random.default_rng(seed), len(numbers)
    # One resample at a time: the indices of all would fill memory for a large split.
    means = [numbers[generator.integers(n, size=n)].mean() for _ in range(1000)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(numbers.mean()), float(low), float(high), n)


def bootstrap_interval(
    values: Tensor, statistic: Callable[[Tensor], float], seed: int, draws: int = 2000
) -> Interval:
    """The basic bootstrap of a statistic (Davison and Hinkley 1997, 5.6): 2 s - its quantiles.

    For values that are paired, such as two scores of one image, a row has both, and the statistic
    takes their difference. It is about other images, not about other training seeds. Of a mean it
    is the percentile interval mirrored; of a statistic that noise pushes up, such as a calibration
    error, it takes back what resampling adds. Raises `ValueError` if there are no values.

    Args:
        values: (n, ...), drawn with replacement along the first axis; a resample keeps their
            order, so a statistic of sorted values need not sort again.
        statistic: a number for such values.
        seed: random seed of the resampling; equal seeds give equal intervals.
        draws: resamples.
    """
    if not len(values):
        raise ValueError("no values to resample")
    # Counts keep the order of the rows, so that a statistic of sorted values need not sort again.
    rows = torch.arange(len(values))
    drawn = [
        float(statistic(values[rows.repeat_interleave(count)]))
        for counts in resamples(len(values), seed, draws)
        for count in counts
    ]
    return basic_interval(float(statistic(values)), torch.tensor(drawn), len(values))


def resamples(n: int, seed: int, draws: int, at_once: int = 64) -> Iterator[Tensor]:
    """How often each of n observations is drawn, (<= at_once, n) int64 at a time; rows sum to n."""
    generator = torch.Generator().manual_seed(seed)
    # Some draws at a time: all of them for a large split would fill the memory.
    for start in range(0, draws, at_once):
        rows = range(start, min(start + at_once, draws))
        yield torch.stack(  # (draws at once, n)
            [torch.randint(n, (n,), generator=generator).bincount(minlength=n) for _ in rows]
        )


def basic_interval(value: float, drawn: Tensor, n: int) -> Interval:
    """The basic bootstrap interval of a statistic's value from its resampled values (draws,)."""
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = drawn.double().quantile(tails).tolist()
    # Mirrored at the value: a resampled statistic errs from the value as the value from the truth.
    return Interval(value, 2 * value - high, 2 * value - low, n)


def verdict(interval: Interval, higher_is_better: bool, seeds: int | None = None) -> Verdict:
    """The verdict that an interval of a difference, new minus old, allows.

    An interval that comes within rounding (1e-9) of 0 counts as including it.

    Args:
        interval: the interval of the difference.
        higher_is_better: whether a higher score is better.
        seeds: behind the interval; below 3 nothing is claimed. None: the interval is over images
            of one training, and the claim is about that training alone.
    """
    # Seeds differ in ways that no interval over images covers.
    if seeds is not None and seeds < FEWEST_SEEDS:
        return "needs 3 seeds"
    # The tolerance: differences of equal scores may be a rounding error from 0.
    if interval.low <= ROUNDING and interval.high >= -ROUNDING:
        return "not distinguishable"
    return "better" if (interval.low > 0) == higher_is_better else "worse"
