from __future__ import annotations

import pytest

from addkit.data.captions import Captions, CaptionTokens
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

TRAIN = Captions(("1", "2"), (("a cat", "a cat sits"), ("a dog",)))
TEST = Captions(("3",), (("a cat and a dog sit",),))
WORDS = Words(WordsConfig.model_validate({}))


def test_vocabulary_and_length_follow_from_train() -> None:
    tokens = CaptionTokens.of({"train": TRAIN, "test": TEST}, WORDS, None)
    assert tokens.vocabulary.tokens == ("<pad>", "<unk>", "a", "cat", "dog", "sits")
    assert tokens.num_tokens == 4  # three words and the end
    assert tokens.references["train"].of_image(0).tolist() == [[2, 3, 0, 0], [2, 3, 5, 0]]
    assert tokens.references["test"].of_image(0).tolist() == [[2, 3, 1, 2]]


@pytest.mark.parametrize(("max_tokens", "cut"), [(2, 1), (3, 0)])
def test_what_is_cut_or_unknown_is_counted(max_tokens: int, cut: int) -> None:
    notes = CaptionTokens.of({"train": TRAIN, "test": TEST}, WORDS, max_tokens).notes
    assert notes == {
        "train_captions": 3,
        "train_captions_cut": cut,
        "train_words": 7,
        "train_unknown_words": 0,
        "test_captions": 1,
        "test_captions_cut": 1,
        "test_words": 6,
        "test_unknown_words": 2,
    }


def test_holding_out_keeps_captions_of_an_image_together() -> None:
    captions = Captions(tuple("abcdefghij"), tuple((f"{i}", f"{i} too") for i in range(10)))
    kept, held = captions.split(0.2, 0, "test")
    assert (len(kept), len(held)) == (8, 2)
    pairs = {**dict(zip(kept.names, kept.texts, strict=True)), **dict(zip(*_of(held), strict=True))}
    assert pairs == dict(zip(captions.names, captions.texts, strict=True))


def _of(captions: Captions) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return captions.names, captions.texts
