from __future__ import annotations

from collections import Counter

import pytest

from addkit.data.source import hold_out_combinations

PARTS = [frozenset({shape, colour}) for shape in "abcde" for colour in "123456"]
NAMES = ["".join(sorted(parts)) for parts in PARTS]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_every_part_stays(share: float) -> None:
    kept, held = hold_out_combinations(PARTS, NAMES, share, 0)
    assert sorted(kept + held) == list(range(30))
    assert held == sorted(held)
    seen = Counter(part for position in kept for part in PARTS[position])
    assert set(seen) == set("abcde123456")
    if share <= 0.5:
        assert len(held) == round(30 * share)
    else:  # 11 parts need 6 items at the least
        assert 6 <= len(kept) <= 11


def test_it_follows_from_the_seed_and_the_names() -> None:
    first = hold_out_combinations(PARTS, NAMES, 0.3, 0)
    assert hold_out_combinations(PARTS, NAMES, 0.3, 0) == first
    assert hold_out_combinations(PARTS, NAMES, 0.3, 1) != first
    backwards = hold_out_combinations(PARTS[::-1], NAMES[::-1], 0.3, 0)
    assert {NAMES[i] for i in first[1]} == {NAMES[::-1][i] for i in backwards[1]}


def test_what_has_no_double_stays() -> None:
    parts = [frozenset({"lone"}), frozenset({"two"}), frozenset({"two"})]
    kept, held = hold_out_combinations(parts, ["1", "2", "3"], 0.9, 0)
    assert 0 in kept
    assert len(held) == 1
