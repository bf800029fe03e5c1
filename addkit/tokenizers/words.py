"""Captions as words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from unicodedata import normalize

from nltk.tokenize import RegexpTokenizer

from addkit.errors import RunError
from addkit.tokenizers.settings import WordsConfig

_SPECIALS = ("<pad>", "<unk>")
_PAD, _UNKNOWN = range(2)  # their ids, since they come first

_INNER = "'’-"
# Defined by the characters that no word contains, since \w lacks the vowel signs of many scripts.
# Without < and > no word of a caption can be mistaken for a special token.
_LETTER = rf"[^\s.,;:!?…<>()\[\]{{}}\"“”„«»‘–—{_INNER}]"
_WORD = RegexpTokenizer(rf"{_LETTER}+(?:[{_INNER}]+{_LETTER}+)*")


class WordVocabulary:
    """`<pad>`, `<unk>` and words."""

    pad: int = _PAD
    unknown: int | None = _UNKNOWN

    def __init__(self, tokens: Sequence[str], keep_case: bool) -> None:
        self.tokens = tuple(tokens)
        # Captions are encoded word by word: a list would be searched each time.
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        self._keep_case = keep_case

    def encode(self, text: str) -> list[int]:
        """Ids of its words, `unknown` for those that the vocabulary lacks."""
        return [self._ids.get(word, _UNKNOWN) for word in _words(text, self._keep_case)]

    def decode(self, ids: Sequence[int]) -> str:
        """The words up to the first pad, with a space between each two."""
        end = ids.index(_PAD) if _PAD in ids else len(ids)
        return " ".join(self.tokens[number] for number in ids[:end])

    def plain(self, text: str) -> str:
        """All its words, with a space between each two."""
        return " ".join(_words(text, self._keep_case))


class Words:
    """Cuts captions at spaces and sentence punctuation, in Unicode's composed form (NFC)."""

    def __init__(self, config: WordsConfig) -> None:
        self._config = config

    @property
    def max_size(self) -> int | None:
        """K at most; None without a limit."""
        return self._config.max_size

    def learn(self, captions: Iterable[str]) -> WordVocabulary:
        """The specials, then words by falling count, words of one count by code point."""
        keep_case, least = self._config.keep_case, self._config.min_count
        counts = Counter(word for text in captions for word in _words(text, keep_case))
        frequent = [word for word, count in counts.items() if count >= least]
        # Ties by code point, so that the order of the captions does not matter.
        ranked = sorted(frequent, key=lambda word: (-counts[word], word))
        return WordVocabulary([*_SPECIALS, *ranked][: self._config.max_size], keep_case)

    def restore(self, tokens: Sequence[str]) -> WordVocabulary:
        """The vocabulary with these tokens. Raises `RunError` if they are no such vocabulary."""
        if tuple(tokens[:2]) != _SPECIALS or len(set(tokens)) != len(tokens):
            raise RunError(
                f"The stored vocabulary ({len(tokens)} tokens, first {list(tokens[:2])}) is none "
                'of the tokenizer "words": those begin with <pad>, <unk> and repeat no token. '
                "Use the tokenizer that the run was trained with."
            )
        return WordVocabulary(tokens, self._config.keep_case)


def _words(text: str, keep_case: bool) -> list[str]:
    # NFC: an accented letter may be written as one code point or as two.
    composed = normalize("NFC", text if keep_case else text.lower())
    words: list[str] = _WORD.tokenize(composed)
    return words
