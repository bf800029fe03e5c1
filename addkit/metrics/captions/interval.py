"""How far a mean over images can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 1000
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval, in the values' own unit."""

    mean: float
    low: float
    high: float
    count: int
    """Values that the mean is of."""


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The percentile bootstrap (Efron 1979) of a mean: 1,000 resamples of as many values, drawn
    with replacement, and the 2.5 and 97.5 percentiles of their means.

    The same values and seed give the same interval. It speaks of other images, not of other
    training seeds. Where all values agree it has no width, whatever the truth.

    Args:
        values: One number (or bool) for each image.
        seed: Of the resampling.

    Raises:
        ValueError: There are no values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        raise ValueError("No values to take the mean of.")
    generator, count = np.random.default_rng(seed), len(numbers)
    # One resample at a time: the indices of all would fill memory for a large split.
    means = [numbers[generator.integers(count, size=count)].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, _TAILS)
    return Interval(float(numbers.mean()), float(low), float(high), count)
