"""Shared by all benchmarks: alternating timings, and a row of the table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

__all__ = ["RECIPES", "ROOT", "Options", "Row", "Target", "alternate", "note", "ratios"]

ROOT = Path(__file__).resolve().parent.parent
RECIPES = {
    "paper": ROOT / "recipes" / "imagenet.toml",
    "addkit": ROOT / "recipes" / "imagenet-addkit.toml",
}
"""ImageNet's encoder with the paper's components, and with addkit's defaults."""

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the command line."""

    quick: bool = False
    """Tiny settings: checks that a benchmark works, measures nothing."""
    kills: int = 20


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the median."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """True if the bound is met."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number."""

    name: str
    compares: str
    values: Sequence[float]
    """One value for each repetition; the median counts."""
    target: Target | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Median of the repetitions."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """`ok`, `missed`, or empty without a target."""
        if self.target is None:
            return ""
        return "ok" if self.target.met(self.median) else "missed"


def alternate(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    seconds: float = 10.0,
    fewest: int = 5,
    most: int = 25,
) -> list[Pair]:
    """Seconds of (first, second), A B A B, after one call of each that does not count.

    Goes on for about `seconds`, within `fewest` and `most` pairs.
    """
    first(), second()
    pairs: list[Pair] = []
    start = perf_counter()
    while len(pairs) < fewest or (len(pairs) < most and perf_counter() - start < seconds):
        pairs.append((_timed(first), _timed(second)))
    return pairs


def ratios(pairs: Sequence[Pair]) -> list[float]:
    """First over second, pair by pair: a busy machine slows both."""
    return [first / second for first, second in pairs]


def note(text: str) -> None:
    """Print progress to stderr; results go to stdout."""
    print(text, file=sys.stderr, flush=True)


def _timed(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
