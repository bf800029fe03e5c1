"""CIDEr-D (Vedantam, Zitnick and Parikh 2015, section 5)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from addkit.metrics.captions.words import LONGEST, Ngram, ngram_counts, ngrams, paired

_SIGMA = 6.0
"""Spread of the Gaussian penalty on a difference in length, in words."""
_FACTOR = 10.0


def cider_d(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, in [0, 10]; the score of a system is the mean.

    10 times the mean over n = 1..4 and the m references s_j of

        e^(-(l(c) - l(s_j))^2 / (2 sigma^2)) min(g_c, g_j) . g_j / (|g_c| |g_j|)

    with l the number of words, sigma = 6, and g_x the vector of x's n-gram counts, each times
    log(images / images with a reference that has the n-gram). These document frequencies are those
    of the references given here, so a score depends on the whole set, and with one image it is 0.
    A perfect caption of w < 4 words has no n-grams for n > w and gets 10 w / 4.
    """
    pairs = paired(predicted, references)
    weigher = _Weigher(references)
    return [_score(weigher.vector(text), list(map(weigher.vector, texts))) for text, texts in pairs]


@dataclass(frozen=True, slots=True)
class _Vector:
    weights: list[dict[Ngram, float]]
    norms: list[float]
    length: int


class _Weigher:
    """Turns a caption into its n-gram weights."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        images = Counter(ngram for texts in references for ngram in _ngrams_of(texts))
        self.unseen = math.log(len(references))
        self.rarity = {ngram: self.unseen - math.log(count) for ngram, count in images.items()}

    def vector(self, text: str) -> _Vector:
        words = text.split()
        weights = [self._weights(counts) for counts in ngram_counts(words)]
        return _Vector(weights, [math.hypot(*one.values()) for one in weights], len(words))

    def _weights(self, counts: Mapping[Ngram, int]) -> dict[Ngram, float]:
        rarity, unseen = self.rarity, self.unseen
        return {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}


def _ngrams_of(texts: Sequence[str]) -> set[Ngram]:
    sizes = range(1, LONGEST + 1)
    return {ngram for text in texts for n in sizes for ngram in ngrams(text.split(), n)}


def _score(caption: _Vector, references: Sequence[_Vector]) -> float:
    total = sum(_similarity(caption, reference) for reference in references)
    return _FACTOR * total / (LONGEST * len(references))


def _similarity(caption: _Vector, reference: _Vector) -> float:
    """The penalised sum over n."""
    gap = caption.length - reference.length
    return math.exp(-(gap**2) / (2 * _SIGMA**2)) * sum(
        _clipped_product(own, other) / (size * length)
        for own, other, size, length in zip(
            caption.weights, reference.weights, caption.norms, reference.norms, strict=True
        )
        if size and length
    )


def _clipped_product(own: Mapping[Ngram, float], other: Mapping[Ngram, float]) -> float:
    return sum(min(own[ngram], other[ngram]) * other[ngram] for ngram in own.keys() & other.keys())
