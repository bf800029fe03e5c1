from __future__ import annotations

import pytest

from addkit.metrics.captions import distinct, exact_matches, length_matches, repeats

REFERENCES = [["a cat", "one cat sits"], ["a dog"], ["a bird"]]


def test_exact_matches_of_any_reference() -> None:
    assert exact_matches(["one cat sits", "A dog", "bird a"], REFERENCES) == [True, False, False]
    assert exact_matches([" a  cat ", "a dog", ""], REFERENCES) == [True, True, False]


def test_length_matches_of_any_reference() -> None:
    assert length_matches(["x y z", "x y z", ""], REFERENCES) == [True, False, False]
    assert length_matches(["x y", "x y", "x"], REFERENCES) == [True, True, False]


def test_repeats_are_adjacent() -> None:
    assert repeats(["a a cat", "a cat a", "cat", "", "catcat cat"]) == [
        True,
        *[False] * 4,
    ]


def test_distinct_counts_over_all_captions() -> None:
    captions = ["a red cat", "a red dog", "", "a"]
    assert distinct(captions, 1) == pytest.approx(4 / 7)
    assert distinct(captions, 2) == pytest.approx(3 / 4)
    assert distinct(["a"], 2) == 0
