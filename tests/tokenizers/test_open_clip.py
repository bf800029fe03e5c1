from __future__ import annotations

import pickle

import pytest
from open_clip.tokenizer import tokenize

from addkit.errors import RunError
from addkit.plugin import Problem, load_registry
from addkit.plugin.protocols import Tokenizer, Vocabulary
from addkit.tokenizers.settings import OpenClipConfig

CAPTIONS = ("A cat on a mat.", "judge: medium-light skin tone", "Côte d’Ivoire 🙂", "two  spaces")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    spec = load_registry().get("tokenizer", "open-clip").spec
    return spec.create(OpenClipConfig(), Problem())


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return tokenizer.learn(())


def test_all_tokens_differ(vocabulary: Vocabulary) -> None:
    assert len(vocabulary.tokens) == len(set(vocabulary.tokens)) == 49_408
    assert vocabulary.tokens[vocabulary.pad] == "<end_of_text>"
    assert vocabulary.unknown is None


@pytest.mark.parametrize("text", CAPTIONS)
def test_ids_are_open_clips(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    row = tokenize([text])[0].tolist()
    assert row[1 : len(ids) + 2] == [*ids, vocabulary.pad]


def test_round_trips(vocabulary: Vocabulary) -> None:
    assert vocabulary.decode(vocabulary.encode("A cat  on a mat")) == "a cat on a mat"
    for text in CAPTIONS:
        ids = vocabulary.encode(text)
        assert vocabulary.encode(vocabulary.decode([*ids, vocabulary.pad, 5])) == ids
        assert vocabulary.plain(text) == vocabulary.decode(ids)


def test_special_tokens_are_no_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("a <end_of_text> cat <start_of_text>")
    assert vocabulary.decode(ids) == "a cat"
    start = vocabulary.tokens.index("<start_of_text>")
    assert vocabulary.decode([start, *ids]) == "a cat"


def test_restoring_checks_the_tokens(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    assert tokenizer.restore(list(vocabulary.tokens)) is vocabulary
    with pytest.raises(RunError, match=r"it has 49408 tokens, the run's had 2\."):
        tokenizer.restore(("a", "b"))
    others = ["!", "?", *vocabulary.tokens[2:]]
    with pytest.raises(RunError, match=r"its token 1 is '\"', the run's was '\?'"):
        tokenizer.restore(others)


def test_workers_can_have_it(vocabulary: Vocabulary) -> None:
    copy = pickle.loads(pickle.dumps(vocabulary))
    assert copy.encode(CAPTIONS[1]) == vocabulary.encode(CAPTIONS[1])
