from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from addkit.errors import RecipeError, RunError
from addkit.plugin import Problem, load_registry
from addkit.plugin.protocols import Tokenizer
from addkit.tokenizers.settings import TokenizersFileConfig

CAPTIONS = ("a cat on a mat", "a dog on a log", "the cats")


def _build(file: Path, pad: str = "<pad>") -> Tokenizer:
    spec = load_registry().get("tokenizer", "tokenizers-file").spec
    return spec.create(TokenizersFileConfig(file=file, pad=pad), Problem())


@pytest.fixture
def subwords(tmp_path: Path) -> Path:
    """Byte-level subwords learnt from three captions; the file asks for padding to 16."""
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(CAPTIONS, trainer)
    model.enable_padding(length=16)
    model.enable_truncation(2)
    model.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Whole words, others unknown."""
    tokenizers = pytest.importorskip("tokenizers")
    known = {"<pad>": 0, "[UNK]": 1, "a": 2, "cat": 3}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.add_special_tokens(["<pad>", "[UNK]"])
    model.save(str(tmp_path / "words.json"))
    return tmp_path / "words.json"


def test_a_byte_order_mark_is_left_out(words: Path) -> None:
    tokens = _build(words).learn(()).tokens
    words.write_text(words.read_text("utf-8"), "utf-8-sig")
    assert _build(words).learn(()).tokens == tokens


def test_round_trips_of_subwords(subwords: Path) -> None:
    vocabulary = _build(subwords).learn(())
    assert len(set(vocabulary.tokens)) == len(vocabulary.tokens) > 257
    assert (vocabulary.tokens[vocabulary.pad], vocabulary.unknown) == ("<pad>", None)
    for text in (*CAPTIONS, "Ünseen wörds, too 🙂"):
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids) == vocabulary.plain(text) == text
        assert vocabulary.decode([*ids, vocabulary.pad, 4]) == text
    assert vocabulary.pad not in vocabulary.encode("a <pad> cat")


def test_unknown_words(words: Path) -> None:
    vocabulary = _build(words).learn(())
    assert vocabulary.unknown == 1
    assert vocabulary.encode("a black cat") == [2, 1, 3]
    assert vocabulary.plain("a black cat") == "a black cat"
    assert vocabulary.plain("a cat") == "a cat"


def test_unknown_of_a_unigram_model(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("a", -1.0)]
    model = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=1))
    model.save(str(tmp_path / "unigram.json"))
    assert _build(tmp_path / "unigram.json").learn(()).unknown == 1


def test_restoring_checks_the_tokens(subwords: Path, words: Path) -> None:
    tokenizer = _build(subwords)
    vocabulary = tokenizer.learn(CAPTIONS)
    assert tokenizer.restore(vocabulary.tokens) is vocabulary
    with pytest.raises(RunError, match=r"the run's had 4\.\s+Restore the tokenizer's file"):
        tokenizer.restore(_build(words).learn(()).tokens)


def test_a_pad_that_is_no_token(subwords: Path) -> None:
    with pytest.raises(
        RecipeError,
        match=r'tokenizer\.pad = "<Pad>" is no token of .*json \(did you mean "<pad>"\?\)\. '
        r"Name the token that ends a text\. Such are: <pad>\.",
    ):
        _build(subwords, "<Pad>")


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    with pytest.raises(RecipeError, match=r"none\.json cannot be read \(No such file"):
        _build(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"broken\.json is no tokenizer .*Give a tokenizer\.json"):
        _build(tmp_path / "broken.json")


def test_ids_with_gaps(words: Path) -> None:
    content = json.loads(words.read_text())
    content["model"]["vocab"] = {"<pad>": 0, "[UNK]": 1, "a": 2, "cat": 7}
    words.write_text(json.dumps(content))
    with pytest.raises(RecipeError, match=r"has 4 tokens with ids up to 7; every id from 0 on"):
        _build(words)


def test_the_package_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(RecipeError, match="Install it with: pip install tokenizers"):
        _build(tmp_path / "tokenizer.json")
