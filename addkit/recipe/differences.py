"""Compare experiments: the keys in which they differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addkit.recipe.toml import toml_value

ABOUT = ("name", "summary")
"""Keys of the top that say what a recipe is, and change nothing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One dotted key, and its value in each; None where it is absent."""

    key: str
    values: tuple[Any, ...]

    def cells(self) -> list[str]:
        """A table's row: the key, and each value as TOML, a dash where it is absent."""
        return [self.key, *("-" if value is None else toml_value(value) for value in self.values)]


def differences(tables: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """What differs between resolved recipes, or other tables of tables, in the order of keys."""
    flattened = [flat(recipe) for recipe in tables]
    keys = dict.fromkeys(key for recipe in flattened for key in recipe if key not in ABOUT)
    rows = [Difference(key, tuple(recipe.get(key) for recipe in flattened)) for key in keys]
    # 1 == True in Python, while 1 and true differ in a recipe.
    return [
        row
        for row in rows
        if any(
            isinstance(left, bool) != isinstance(right, bool) or left != right
            for left, right in itertools.pairwise(row.values)
        )
    ]


def flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys -> values that are no tables."""
    return dict(_leaves(tables, ""))


def _leaves(table: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        # An empty table has no keys below it: it is listed itself, or it would vanish.
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
