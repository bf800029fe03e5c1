from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from addkit.metrics.captions import (
    bleu,
    cider_d,
    exact_matches,
    leave_one_out,
    length_matches,
    meteor,
    rouge_l,
    score_captions,
)

METRICS = [bleu, cider_d, exact_matches, length_matches, meteor, rouge_l, score_captions]
Metric = Callable[[Sequence[str], Sequence[Sequence[str]]], Any]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize(
    ("predicted", "references", "message"),
    [
        ([], [], "No captions to score."),
        (
            ["a cat"],
            [["a cat"], ["a dog"]],
            "1 captions but 2 lists of references; each image needs one of both.",
        ),
        (["a cat", "a dog"], [["a cat"], []], "Image 1 has no references; leave it out."),
        (
            ["a cat"],
            ["a cat"],
            "The references of image 0 are one text; give a list of them.",
        ),
    ],
)
def test_what_cannot_be_scored(
    metric: Metric, predicted: list[str], references: list[Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        metric(predicted, references)
    assert str(error.value) == message


def test_leave_one_out_pairs_each_reference_with_the_others() -> None:
    assert leave_one_out([["a", "b", "c"], ["alone"], ["d", "d"]]) == [
        ("a", ["b", "c"]),
        ("b", ["a", "c"]),
        ("c", ["a", "b"]),
        ("d", ["d"]),
        ("d", ["d"]),
    ]


def test_leave_one_out_is_what_the_scores_take() -> None:
    predicted, others = zip(*leave_one_out([["a cat", "a cat", "one cat"]]), strict=True)
    scores = score_captions(predicted, others)
    assert scores.count == 3
    assert scores.exact_match == pytest.approx(2 / 3)
