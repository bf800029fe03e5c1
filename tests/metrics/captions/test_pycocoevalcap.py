"""BLEU, CIDEr-D and ROUGE-L are the COCO caption evaluation's own, on 200 random sets."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from addkit.metrics.captions import bleu, cider_d, exact_matches, rouge_l, score_captions

CaptionSet = tuple[list[str], list[list[str]]]


def _theirs(scorer: Any, captions: CaptionSet, **options: Any) -> tuple[Any, Any]:
    predicted, references = captions
    results = {number: [text] for number, text in enumerate(predicted)}
    return scorer.compute_score(dict(enumerate(references)), results, **options)


def test_the_sets_have_the_hard_cases(caption_sets: list[CaptionSet]) -> None:
    assert len(caption_sets) == 200
    longest_match = [bleu(*captions)[3] for captions in caption_sets]
    assert sum(score < 1e-3 for score in longest_match) > 10
    assert max(longest_match) > 1 - 1e-6
    assert all(exact_matches(*caption_sets[0]))
    assert not any(exact_matches(*caption_sets[1]))
    assert any("" in predicted for predicted, _ in caption_sets)
    assert any(len(predicted) == 1 for predicted, _ in caption_sets)


def test_bleu(caption_sets: list[CaptionSet]) -> None:
    for captions in caption_sets:
        expected, _ = _theirs(Bleu(4), captions, verbose=0)
        assert bleu(*captions) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("metric", "scorer"), [(cider_d, Cider), (rouge_l, Rouge)])
def test_cider_d_and_rouge_l(
    caption_sets: list[CaptionSet], metric: Callable[..., list[float]], scorer: type
) -> None:
    for captions in caption_sets:
        mean, each = _theirs(scorer(), captions)
        ours = metric(*captions)
        assert ours == pytest.approx(list(each), rel=1e-6, abs=1e-9)
        assert fmean(ours) == pytest.approx(mean, rel=1e-6, abs=1e-9)


def test_all_scores_at_once_are_the_same(caption_sets: list[CaptionSet]) -> None:
    captions = caption_sets[7]
    scores = score_captions(*captions)
    expected = [*_theirs(Bleu(4), captions, verbose=0)[0]]
    expected += [_theirs(scorer, captions)[0] for scorer in (Cider(), Rouge())]
    ours = [scores.bleu1, scores.bleu2, scores.bleu3, scores.bleu4, scores.cider_d, scores.rouge_l]
    assert ours == pytest.approx(expected, rel=1e-6)


def test_an_empty_reference_is_scored_as_theirs() -> None:
    captions = (["", "a cat", ""], [["", "a dog"], [""], ["a bird"]])
    assert bleu(*captions) == pytest.approx(_theirs(Bleu(4), captions, verbose=0)[0], rel=1e-6)
    assert rouge_l(*captions) == pytest.approx(list(_theirs(Rouge(), captions)[1]))
    assert cider_d(*captions) == pytest.approx(list(_theirs(Cider(), captions)[1]))
