"""CIDEr-D (Vedantam, Zitnick and Parikh 2015, section 5)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
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
    sizes = range(1, LONGEST + 1)
    # Images whose references have an n-gram, each image once.
    images = Counter(
        ngram
        for texts in references
        for ngram in {ngram for text in texts for n in sizes for ngram in ngrams(text.split(), n)}
    )
    # An n-gram of no reference weighs as much as one of a single image.
    unseen = math.log(len(references))
    rarity = {ngram: unseen - math.log(count) for ngram, count in images.items()}

    def vector(text: str) -> _Vector:
        words = text.split()
        weights = [
            {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}
            for counts in ngram_counts(words)
        ]
        return _Vector(weights, [math.hypot(*each.values()) for each in weights], len(words))

    scores = []
    for text, texts in pairs:
        caption = vector(text)
        total = sum(_similarity(caption, vector(other)) for other in texts)
        scores.append(_FACTOR * total / (LONGEST * len(texts)))
    return scores


@dataclass(frozen=True, slots=True)
class _Vector:
    """n-gram weights and their Euclidean norm, for n = 1..4."""

    weights: list[dict[Ngram, float]]
    norms: list[float]
    length: int
    """Words."""


def _similarity(caption: _Vector, reference: _Vector) -> float:
    """The penalised sum over n."""
    gap = caption.length - reference.length
    total = 0.0
    sizes = zip(caption.weights, reference.weights, caption.norms, reference.norms, strict=True)
    for own, other, own_norm, other_norm in sizes:
        if own_norm and other_norm:
            # Clipped to the reference's weight, so that repeating a word gains nothing.
            shared = sum(min(own[k], other[k]) * other[k] for k in own.keys() & other.keys())
            total += shared / (own_norm * other_norm)
    return math.exp(-(gap**2) / (2 * _SIGMA**2)) * total
