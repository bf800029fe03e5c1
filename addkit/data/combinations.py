"""Holding out combinations: variants of things that stay seen in other variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from addkit.diffusion.randomness import counted_seed


def hold_out_combinations(
    parts: Sequence[frozenset[str]], names: Sequence[str], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions kept and held out, in their order.

    Items are held out in the order of their ranks, which follow from (seed, name), if each of
    their parts (its base, its words) stays in another item that is kept, until they are the share
    of all, rounded, or no more can go.
    """
    wanted = round(len(parts) * share)
    left = Counter(part for item in parts for part in item)
    ranked = sorted(
        range(len(parts)), key=lambda position: counted_seed(seed, f"validation:{names[position]}")
    )
    held: set[int] = set()
    for position in ranked:
        if len(held) == wanted:
            break
        if all(left[part] > 1 for part in parts[position]):
            held.add(position)
            left.subtract(parts[position])
    return [position for position in range(len(parts)) if position not in held], sorted(held)
