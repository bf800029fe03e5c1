from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from addkit.metrics.captions import score_captions

REFERENCES = [["a red cat", "one cat"], ["a big dog runs fast"], ["a bird"]]


def test_each_score_has_its_own_field() -> None:
    scores = score_captions(["one cat", "a big big dog runs", ""], REFERENCES)
    assert scores.exact_match == pytest.approx(1 / 3)
    assert scores.length_accuracy == pytest.approx(2 / 3)
    assert scores.repeats == pytest.approx(1 / 3)
    assert scores.distinct1 == pytest.approx(6 / 7)
    assert scores.distinct2 == 1
    assert scores.count == 3
    assert 1 > scores.bleu1 > scores.bleu2 > scores.bleu3 > scores.bleu4 > 0


def test_right_captions_have_the_most() -> None:
    captions = ["a red cat sleeps", "a big dog runs fast", "two small birds sing"]
    scores = score_captions(captions, [[text] for text in captions])
    most = (scores.exact_match, scores.length_accuracy, scores.rouge_l)
    assert most == (1, 1, 1)
    assert (scores.bleu1, scores.bleu4) == pytest.approx((1, 1))
    assert scores.cider_d == pytest.approx(10)
    assert scores.repeats == 0


def test_wrong_captions_have_nothing() -> None:
    scores = score_captions(["x y z q"] * 3, REFERENCES)
    assert scores.exact_match == scores.rouge_l == scores.cider_d == 0
    assert max(scores.bleu1, scores.bleu4) < 1e-6


def test_one_image_and_one_empty_caption() -> None:
    scores = score_captions([""], [["a cat"]])
    numbers = asdict(scores)
    assert numbers.pop("count") == 1
    assert not any(numbers.values())


def test_the_scores_can_be_written_as_json() -> None:
    stored = json.loads(json.dumps(asdict(score_captions(["a cat"] * 3, REFERENCES))))
    keys = {"exact_match", "bleu4", "cider_d", "rouge_l", "meteor", "repeats", "length_accuracy"}
    assert keys | {"count"} <= stored.keys()
