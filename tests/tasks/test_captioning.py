from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, Answer
from addkit.errors import UsageError
from addkit.plugin import Problem
from addkit.plugin.values import Batch
from addkit.tasks.captioning import Captioning, references_of
from addkit.tasks.predictions import CaptionPrediction
from addkit.tasks.settings import CaptioningConfig
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

TOKENS = ("<pad>", "<unk>", "a", "red", "blue", "cat", "dog")
PAD, UNKNOWN, A, RED, BLUE, CAT, DOG = range(7)
N = 5
PROBLEM = Problem(
    num_classes=7,
    num_tokens=N,
    class_names=TOKENS,
    pad=PAD,
    unknown=UNKNOWN,
    tokenizer=Words(WordsConfig.model_validate({})),
)


def _task(**settings: Any) -> Captioning:
    return Captioning(CaptioningConfig.model_validate(settings), PROBLEM)


def _rows(*rows: list[int]) -> Tensor:
    return torch.tensor([row + [PAD] * (N - len(row)) for row in rows])


LABELS = _rows([A, RED, CAT], [A, RED, BLUE, CAT, DOG], [DOG]).unsqueeze(1)


def _answer(candidates: Tensor, confidence: float = 0.5) -> Answer:
    """Candidates (B, S, N), the best first."""
    images, chains, _ = candidates.shape
    nobody = torch.zeros(images, N, 7)
    return Answer(
        labels=candidates[:, 0],
        probabilities=nobody,
        votes=nobody,
        steps=torch.arange(images) + 2,
        candidates=candidates,
        confidence=torch.full(candidates.shape, confidence) - torch.arange(N) / 100,
        scores=2 - torch.arange(float(chains)).expand(images, -1),
    )


def _batch(labels: Tensor, **more: Any) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 2, 2), labels, tuple(range(len(labels))), **more)


def test_the_end_counts_like_a_word_and_pads_behind_it_less() -> None:
    targets = _task(pad_weight=0.2).targets(LABELS)
    assert torch.equal(targets.labels, LABELS)
    wanted = torch.tensor([[1, 1, 1, 1, 0.2], [1, 1, 1, 1, 1], [1, 1, 0.2, 0.2, 0.2]])
    torch.testing.assert_close(targets.weights.squeeze(1), wanted)
    assert torch.equal(targets.real, targets.weights == 1)
    assert targets.present is None
    assert targets.known is None
    assert not _task().predicts_length


def test_masked_pads_do_not_exist() -> None:
    targets = _task(pad="mask").targets(LABELS)
    words = LABELS != PAD
    assert torch.equal(targets.present, words)
    assert torch.equal(targets.real, words)
    assert torch.equal(targets.weights, words.float())
    assert _task(pad="mask").predicts_length


@pytest.mark.parametrize("pad", ["diffuse", "mask"])
def test_a_template_gives_words_and_where_the_caption_ends(pad: str) -> None:
    given = _task(pad=pad).given_labels
    assert given({"template": "a _ cat"}).tolist() == [A, FREE, CAT, PAD, PAD]
    assert given({"template": " _  Red. "}).tolist() == [FREE, RED, PAD, PAD, PAD]
    assert given({"template": "_ _ _ _ dog"}).tolist() == [FREE] * 4 + [DOG]
    assert given({"length": "2"}).tolist() == [FREE, FREE, PAD, PAD, PAD]
    assert given({"length": "5"}).tolist() == [FREE] * 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": "a green cat"}, 'template: the vocabulary has no word "green"'),
        ({"template": "a , cat"}, 'template: the vocabulary has no word ","'),
        ({"template": ""}, "0 tokens wanted; this run writes from 1 to 5"),
        ({"template": "_ _ _ _ _ _"}, "6 tokens wanted; this run writes from 1 to 5"),
        ({"length": "0"}, "0 tokens wanted; this run writes from 1 to 5"),
        ({"length": "6"}, "6 tokens wanted; this run writes from 1 to 5"),
        ({"length": "9" * 15}, "9" * 15 + " tokens wanted; this run writes from 1 to 5"),
        ({"length": "-1"}, 'length "-1": give a number of tokens'),
        ({"length": "two"}, 'length "two": give a number of tokens'),
        ({"length": "2", "template": "a _"}, "give one of template and length"),
        ({"colour": "red"}, "what can be given is a template or a length"),
        ({"colour": "red", "length": "2"}, "has no attribute colour"),
    ],
)
def test_what_cannot_be_given(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        _task().given_labels(given)
    assert message in str(error.value)


def test_captions_need_a_tokenizer() -> None:
    with pytest.raises(UsageError, match="needs a tokenizer and data with captions"):
        Captioning(CaptioningConfig.model_validate({}), Problem(pad=0))


def test_captions_have_the_probability_of_each_token() -> None:
    candidates = torch.stack([_rows([A, RED, CAT], [A, DOG]), _rows([DOG], [A, A, A, A, A])])
    predictions = _task().predictions(_answer(candidates), 5)
    assert [prediction.text for prediction in predictions] == ["a red cat", "dog"]
    assert [prediction.steps for prediction in predictions] == [2, 3]
    first = predictions[0]
    assert isinstance(first, CaptionPrediction)
    assert [caption.text for caption in first.captions] == ["a red cat", "a dog"]
    assert [token.text for token in first.captions[0].tokens] == ["a", "red", "cat"]
    sure = [token.probability for token in first.captions[0].tokens]
    assert sure == pytest.approx([0.5, 0.49, 0.48])
    assert [caption.score for caption in first.captions] == [2, 1]
    assert len(predictions[1].captions[1].tokens) == 5
    # Words and the end: the caption is as probable as all of its tokens, of which that is one.
    assert first.captions[0].probability == pytest.approx(0.5 * 0.49 * 0.48 * 0.47)
    assert predictions[1].captions[1].probability == pytest.approx(0.5 * 0.49 * 0.48 * 0.47 * 0.46)
    assert first.rows()[0] == ("a red cat", "5.53", "50 49 48", "2.000")
    assert first.data()["captions"][1]["text"] == "a dog"
    assert len(_task().columns) == len(first.rows()[0])
    assert [len(p.captions) for p in _task().predictions(_answer(candidates), 1)] == [1, 1]


def test_each_caption_has_its_own_tokens_and_probability() -> None:
    answer = _answer(torch.stack([_rows([A, CAT], [A, DOG])]))
    sure = torch.tensor([[[0.9, 0.8, 0.7, 1, 1], [0.9, 0.1, 0.6, 1, 1]]])
    (prediction,) = _task().predictions(replace(answer, confidence=sure), 2)
    first, second = prediction.captions
    assert (first.text, first.probability) == ("a cat", pytest.approx(0.9 * 0.8 * 0.7))
    assert (second.text, second.probability) == ("a dog", pytest.approx(0.9 * 0.1 * 0.6))
    assert second.tokens[1].probability == pytest.approx(0.1)


def test_an_empty_caption_has_a_row() -> None:
    (predictions,) = _task().predictions(_answer(_rows([]).unsqueeze(1)), 1)
    assert predictions.text == ""
    assert predictions.captions[0].tokens == ()
    assert predictions.captions[0].probability == pytest.approx(0.5)


def test_a_caption_of_a_chosen_length_has_the_probability_of_that_length() -> None:
    answer = _answer(_rows([A, RED]).unsqueeze(1))
    answer = replace(answer, prior=torch.full_like(answer.scores, 0.25).log())
    (predictions,) = _task(pad="mask").predictions(answer, 1)
    assert predictions.captions[0].probability == pytest.approx(0.5 * 0.49 * 0.25)


def test_references_are_texts_or_decoded() -> None:
    vocabulary = _task().vocabulary
    labels = LABELS[:, 0]
    assert references_of(_batch(labels), vocabulary) == [
        ["a red cat"],
        ["a red blue cat dog"],
        ["dog"],
    ]
    several = torch.stack(
        [_rows([A], [DOG], [A]), _rows([CAT], [CAT], [CAT]), _rows([A], [A], [A])]
    )
    counts = torch.tensor([2, 1, 3])
    batch = _batch(labels, references=several, reference_counts=counts)
    assert references_of(batch, vocabulary) == [["a", "dog"], ["cat"], ["a", "a", "a"]]
    texts = (("a green cat", "x"), ("b",), ("c",))
    batch = _batch(labels, references=several, reference_counts=counts, texts=texts)
    assert references_of(batch, vocabulary) == [["a green cat", "x"], ["b"], ["c"]]


def test_a_meter_compares_captions_with_every_reference() -> None:
    meter = _task().meter()
    labels = LABELS[:, 0]
    texts = (("a cat", "a red cat"), ("a dog",), ("dog", "dog dog"))
    for image in range(3):
        own = slice(image, image + 1)
        meter.update(_answer(LABELS[own]), _batch(labels[own], texts=texts[own]))
    assert meter.correct.tolist() == [True, False, True]
    scores = meter.compute()
    assert scores.exact_match == pytest.approx(2 / 3)
    assert meter.examples(2) == [("a cat", "a red cat"), ("a dog", "a red blue cat dog")]
    meter.merge(meter)
    # At equal distances over the split, which may be sorted.
    assert meter.examples(2) == [("a cat", "a red cat")] * 2


def test_merged_meters_are_the_meter_of_all_images() -> None:
    rows = [_rows([A, RED, CAT]), _rows([DOG]), _rows([A, BLUE, DOG])]
    truth = torch.cat([rows[0], rows[2], rows[1]])
    candidates = torch.stack([torch.cat([row, rows[0]]) for row in rows])  # Two chains each.
    whole, first, second = (_task().meter() for _ in range(3))
    whole.update(_answer(candidates), _batch(truth))
    first.update(_answer(candidates[:1]), _batch(truth[:1]))
    second.update(_answer(candidates[1:]), _batch(truth[1:]))
    first.merge(second)
    assert first.compute() == whole.compute()
    assert first.compute().count == 3
    assert torch.equal(first.correct, whole.correct)
