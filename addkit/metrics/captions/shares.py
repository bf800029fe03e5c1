"""Shares of captions: right, of the right length, with a word twice in a row; and diversity."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from addkit.metrics.captions.ngrams import ngrams
from addkit.metrics.captions.pairs import paired


def exact_matches(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Which captions equal one of their references, word for word."""
    return [
        text.split() in [one.split() for one in texts]
        for text, texts in paired(predicted, references)
    ]


def length_matches(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Which captions have as many words as one of their references."""
    return [
        len(text.split()) in [len(one.split()) for one in texts]
        for text, texts in paired(predicted, references)
    ]


def repeats(predicted: Sequence[str]) -> list[bool]:
    """Which captions have some word twice in a row."""
    return [any(one == other for one, other in pairwise(text.split())) for text in predicted]


def distinct(predicted: Sequence[str], n: int) -> float:
    """Different n-grams over all n-grams of all captions, in [0, 1]; 0 where there are none.

    Distinct-n of Li et al. 2016 (arXiv 1510.03055).
    """
    found = [ngram for text in predicted for ngram in ngrams(text.split(), n)]
    return len(set(found)) / len(found) if found else 0.0
