from __future__ import annotations

import math

import pytest

from addkit.metrics.captions import cider_d

FAR = "zebra crossing over there"
"""A second image's caption: without one every n-gram is in every document, and weighs nothing."""


def test_a_perfect_caption_of_four_words_has_10() -> None:
    assert cider_d(["a red car parks", FAR], [["a red car parks"], [FAR]]) == [
        pytest.approx(10),
        pytest.approx(10),
    ]


@pytest.mark.parametrize("words", [1, 2, 3])
def test_a_perfect_short_caption_has_fewer_orders(words: int) -> None:
    text = " ".join(["red", "car", "parks"][:words])
    assert cider_d([text, FAR], [[text], [FAR]])[0] == pytest.approx(10 * words / 4)


def test_by_hand() -> None:
    # log 2 weighs each n-gram alike, but for `a`, which is in both images and weighs 0.
    scores = cider_d(["a red red car", "x"], [["a red car", "blue"], ["a dog"]])
    single = (1 * 1 + 1 * 1) / (math.sqrt(2**2 + 1) * math.sqrt(2))
    pair = 2 / (math.sqrt(3) * math.sqrt(2))
    penalty = math.exp(-1 / (2 * 6**2))
    assert scores == [pytest.approx(10 / 4 * penalty * (single + pair) / 2), 0]


def test_length_is_punished() -> None:
    reference = "a red car parks"
    longer = [" ".join([reference, *["so"] * extra]) for extra in range(1, 9)]
    scores = [cider_d([text, FAR], [[reference], [FAR]])[0] for text in longer]
    assert scores == sorted(scores, reverse=True)


def test_repeating_a_rare_word_does_not_pay() -> None:
    honest, repeated = (
        cider_d([text, FAR], [["a red car parks"], [FAR]])[0]
        for text in ("a red car stops", "car car car car")
    )
    assert repeated < honest


def test_one_image_scores_nothing() -> None:
    assert cider_d(["a cat"], [["a cat"]]) == [0]


def test_an_empty_caption_scores_nothing() -> None:
    assert cider_d(["", FAR], [["a cat"], [FAR]])[0] == 0
