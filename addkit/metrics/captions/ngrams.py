"""n-grams of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

LONGEST = 4
"""BLEU and CIDEr-D look at 1 to 4 words at a time."""

Ngram = tuple[str, ...]


def ngrams(words: Sequence[str], n: int) -> Iterator[Ngram]:
    """Every n neighbours, from left to right; none where there are fewer than n words."""
    return zip(*(words[start:] for start in range(n)), strict=False)


def ngram_counts(words: Sequence[str]) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, one counter for each n = 1..4."""
    return [Counter(ngrams(words, n)) for n in range(1, LONGEST + 1)]
