"""Axes of an ablation: a key of the recipe and the values that it takes. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from addkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Axis:
    """`schedule.scale` at 1, 2 and 4."""

    key: str
    """`table.key`; `loss.name` chooses the component."""
    values: tuple[str, ...]
    """As they are written after `--set key=`."""

    def overrides(self) -> list[str]:
        """`key=value` for each value."""
        return [f"{self.key}={value}" for value in self.values]


def combinations(axes: Sequence[Axis], *, grid: bool) -> list[tuple[str, ...]]:
    """The overrides of each arm.

    Args:
        axes: what varies.
        grid: every combination of a value from each axis; otherwise one value at a time, all else
            as in the recipe.

    Raises:
        UsageError: two axes of one key.
    """
    keys = [axis.key for axis in axes]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise UsageError(f"{twice[0]} is an axis twice; give all its values at once")
    if grid:
        return list(product(*(axis.overrides() for axis in axes)))
    return [(override,) for axis in axes for override in axis.overrides()]
