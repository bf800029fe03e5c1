from __future__ import annotations

import pytest

from addkit.errors import RunError
from addkit.plugin import Problem, load_registry
from addkit.plugin.protocols import Tokenizer
from addkit.tokenizers.settings import WordsConfig

CAPTIONS = ("A cat on a mat.", "a dog, on a log", "The dog")


def _words(**settings: object) -> Tokenizer:
    spec = load_registry().get("tokenizer", "words").spec
    return spec.create(WordsConfig.model_validate(settings), Problem())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Judge: medium-light skin tone!", ["judge", "medium-light", "skin", "tone"]),
        ("Côte d’Ivoire, it's", ["côte", "d’ivoire", "it's"]),
        ("keycap: #", ["keycap", "#"]),
        ("St. Kitts & Nevis (island)", ["st", "kitts", "&", "nevis", "island"]),
        ("a \"red\" <pad> 'box' - \t and—so – on", ["a", "red", "pad", "box", "and", "so", "on"]),
        ("rock-'n'-roll --- ''", ["rock-'n'-roll"]),
        ("हिन्दी में, 日本 3.5", ["हिन्दी", "में", "日本", "3", "5"]),
        ("cafe\u0301", ["café"]),
        (" ... ", []),
    ],
)
def test_words_of_a_caption(text: str, words: list[str]) -> None:
    vocabulary = _words().learn([text])
    assert vocabulary.plain(text) == " ".join(words)
    ids = vocabulary.encode(text)
    assert [vocabulary.tokens[number] for number in ids] == words
    assert vocabulary.unknown not in ids


def test_order_is_by_count_then_alphabet() -> None:
    vocabulary = _words().learn(CAPTIONS)
    words = ("a", "dog", "on", "cat", "log", "mat", "the")
    assert vocabulary.tokens == ("<pad>", "<unk>", *words)
    assert _words().learn(reversed(CAPTIONS)).tokens == vocabulary.tokens
    assert (vocabulary.pad, vocabulary.unknown) == (0, 1)


def test_rare_words_are_unknown() -> None:
    assert _words(min_count=2).learn(CAPTIONS).tokens == ("<pad>", "<unk>", "a", "dog", "on")
    small = _words(max_size=4).learn(CAPTIONS)
    assert small.tokens == ("<pad>", "<unk>", "a", "dog")
    assert small.encode("a cat dog") == [2, 1, 3]
    assert small.decode(small.encode("a cat dog")) == "a <unk> dog"
    assert small.plain("a CAT dog.") == "a cat dog"


def test_case_can_be_kept() -> None:
    vocabulary = _words(keep_case=True).learn(CAPTIONS)
    assert {"A", "a", "The"} <= set(vocabulary.tokens)
    assert vocabulary.decode(vocabulary.encode("The cat.")) == "The cat"


def test_round_trips() -> None:
    vocabulary = _words().learn(CAPTIONS)
    for text in CAPTIONS:
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids) == vocabulary.plain(text)
        assert vocabulary.decode([*ids, 0, 2, 0]) == vocabulary.plain(text)
        assert vocabulary.encode(vocabulary.decode(ids)) == ids
    assert vocabulary.decode([0, 2]) == ""
    again = _words().restore(list(vocabulary.tokens))
    assert again.tokens == vocabulary.tokens
    assert again.encode(CAPTIONS[0]) == vocabulary.encode(CAPTIONS[0])


@pytest.mark.parametrize("tokens", [("a", "b"), ("<pad>", "<unk>", "a", "a"), ()])
def test_a_foreign_vocabulary_is_refused(tokens: tuple[str, ...]) -> None:
    with pytest.raises(RunError, match=r'is none of the tokenizer "words".*trained with\.'):
        _words().restore(tokens)
