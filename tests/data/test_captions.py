from __future__ import annotations

import pytest

from addkit.data.captions import Captions, CaptionTokens
from addkit.data.settings import DataWarning
from addkit.errors import DataError
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


def _tokens(train: list[str], test: list[str] | None = None, **settings: object) -> CaptionTokens:
    splits = {}
    for name, texts in (("train", train), ("test", test or train[:1])):
        lines = tuple((f"{name}.csv:{line}",) for line in range(2, len(texts) + 2))
        splits[name] = Captions(tuple(map(str, texts)), tuple((text,) for text in texts), lines)
    max_tokens = settings.pop("max_tokens", None)
    assert max_tokens is None or isinstance(max_tokens, int)
    return CaptionTokens.of(splits, Words(WordsConfig.model_validate(settings)), max_tokens)


@pytest.mark.parametrize("text", ["...", "!?", "-", "\u2026", "' '"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_without_a_word_are_refused(text: str, split: str) -> None:
    texts = {"train": ["a cat", "a dog"], "test": ["a dog"]}
    texts[split].append(text)
    line = len(texts[split]) + 1
    with pytest.raises(DataError, match=rf"^1 captions .*\n  {split}\.csv:{line}: "):
        _tokens(texts["train"], texts["test"])


ODD = [f"word{i} thing{i}" for i in range(9)]


@pytest.mark.parametrize("limit", [{"min_count": 2}, {"max_size": 3}])
def test_unknown_words(limit: dict[str, int]) -> None:
    text = r"{}\.csv:\d+: \d+ of the \d+ words .*tokenizer\.min_count.*tokenizer\.max_size"
    with pytest.warns(DataWarning, match=text.format("train")):
        _tokens([*ODD, "a b", "a b"], ["a a"], **limit)
    with pytest.warns(DataWarning, match=text.format("test")):
        _tokens(["a a"] * 3, ["a b c d"], **limit)
    with pytest.raises(DataError, match=text.format("train")):
        _tokens(ODD, min_count=2)


def test_one_long_caption_is_named() -> None:
    texts = ["a cat on a mat"] * 30
    texts[7] = "very " * 3000 + "round"
    text = r"train\.csv:9: .*3,001 tokens.* data\.max_tokens = 6"
    with pytest.warns(DataWarning, match=text):
        assert _tokens(texts, ["a cat"]).num_tokens == 3002
    # Nothing to warn of: a length that was chosen, and lengths that differ by little.
    assert _tokens(texts, ["a cat"], max_tokens=6).num_tokens == 6
    assert _tokens(["cat"] * 30 + ["a cat on a mat of his"]).num_tokens == 8


def test_holding_out_keeps_captions_of_an_image_together() -> None:
    captions = Captions(tuple("abcdefghij"), tuple((f"{i}", f"{i} too") for i in range(10)))
    kept, held = captions.split(0.2, 0, "test")
    assert (len(kept), len(held)) == (8, 2)
    pairs = {**dict(zip(kept.names, kept.texts, strict=True)), **dict(zip(*_of(held), strict=True))}
    assert pairs == dict(zip(captions.names, captions.texts, strict=True))


def _of(captions: Captions) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return captions.names, captions.texts
