from __future__ import annotations

import random

import pytest

from addkit.metrics.captions import rouge_l
from addkit.metrics.captions.coco import longest_common


def _by_table(first: str, second: str) -> int:
    above = [0] * (len(first) + 1)
    for letter in second:
        row = [0]
        for column, other in enumerate(first):
            row.append(
                above[column] + 1 if other == letter else max(above[column + 1], row[column])
            )
        above = row
    return above[-1]


def test_thelongest_common_subsequence_is_the_tables() -> None:
    draw = random.Random(0)
    for letters in ("ab", "abcde", "abcdefghijklmnop"):
        for _ in range(200):
            first, second = (
                "".join(draw.choices(letters, k=draw.randint(1, 70))) for _ in range(2)
            )
            assert longest_common(first, second) == _by_table(first, second)


def test_by_hand() -> None:
    # `a cat a` is common: P = 3 / 4, R = 3 / 5.
    scores = rouge_l(["a big cat a"], [["see a cat on a"]])
    precision, recall = 3 / 4, 3 / 5
    expected = (1 + 1.44) * precision * recall / (recall + 1.44 * precision)
    assert scores == [pytest.approx(expected)]


def test_precision_and_recall_may_come_from_different_references() -> None:
    # All of the caption is in the first reference, all of the second is in the caption.
    assert rouge_l(["a cat"], [["a cat on a mat", "cat"]]) == [pytest.approx(1)]


def test_extremes() -> None:
    assert rouge_l(["a cat", "a cat", ""], [["a cat"], ["two dogs"], ["a cat"]]) == [1, 0, 0]
