from __future__ import annotations

import math

import pytest
from sacrebleu.metrics import BLEU

from addkit.metrics.captions import bleu

CaptionSet = tuple[list[str], list[list[str]]]


def _sacre(predicted: list[str], references: list[list[str]]) -> list[float]:
    """BLEU-1 to BLEU-4; sacrebleu takes one list for each reference's turn."""
    most = max(map(len, references))
    turns = [
        [texts[turn] if turn < len(texts) else None for texts in references] for turn in range(most)
    ]
    scorers = [BLEU(max_ngram_order=n, tokenize="none", smooth_method="none") for n in range(1, 5)]
    return [scorer.corpus_score(predicted, turns).score / 100 for scorer in scorers]


def test_with_a_match_of_every_order_sacrebleu_agrees(caption_sets: list[CaptionSet]) -> None:
    expected = [_sacre(*captions) for captions in caption_sets]
    agreeing = [number for number, scores in enumerate(expected) if scores[3] > 0]
    assert len(agreeing) > 90
    for number in agreeing:
        assert bleu(*caption_sets[number]) == pytest.approx(expected[number], rel=1e-6)


def test_bleu_by_hand() -> None:
    # Of 4 words 3 match (one `the` is one too many), of 3 pairs 1; the reference has 5 words.
    scores = bleu(["the cat the mat"], [["on the mat a cat"]])
    brevity = math.exp(1 - 5 / 4)
    assert scores[0] == pytest.approx(brevity * 3 / 4)
    assert scores[1] == pytest.approx(brevity * math.sqrt(3 / 4 * 1 / 3))
    assert scores[2] < 1e-4
    assert scores[3] < 1e-3


def test_of_two_equally_close_references_the_shorter_counts() -> None:
    assert bleu(["a b"], [["a b c", "a"]])[0] == pytest.approx(1)
    assert bleu(["a b"], [["a b c", "a b c d"]])[0] == pytest.approx(math.exp(1 - 3 / 2))


def test_captions_are_pooled_not_averaged() -> None:
    scores = bleu(["a", "b c d"], [["a"], ["x y z"]])
    assert scores[0] == pytest.approx(1 / 4)


def test_no_words_score_nothing() -> None:
    assert bleu(["", ""], [["a cat"], ["a dog"]]) == (0, 0, 0, 0)
