"""BLEU (Papineni et al. 2002) as the COCO caption evaluation computes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from operator import mul, or_

from addkit.metrics.captions.words import LONGEST, ngram_counts, paired

_TINY, _SMALL = 1e-15, 1e-9
"""pycocoevalcap's: added to what matches and to what could, so that 0 / 0 is next to nothing."""


def bleu(
    predicted: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of all captions together, each in [0, 1].

    BLEU-n = min(1, e^(1 - r / c)) (p_1 ... p_n)^(1/n), where p_k is the share of the captions'
    k-grams that occur in a reference (each at most as often as in the one that has it most), c the
    captions' length in words, and r the sum of the reference lengths closest to each caption's (of
    two equally close the shorter).

    Own code because nltk's `corpus_bleu` cannot give COCO's numbers: it counts a caption of fewer
    than k words as one k-gram missed, and leaves orders without a match out of the mean. With a
    match of every order the value is also sacrebleu's; without one the two differ by design.
    """
    rows = []
    for text, texts in paired(predicted, references):
        words, others = text.split(), [other.split() for other in texts]
        counts = ngram_counts(words)
        # Of each n-gram as many count as the reference that has it most.
        most = [reduce(or_, each) for each in zip(*map(ngram_counts, others), strict=True)]
        matched = [(own & other).total() for own, other in zip(counts, most, strict=True)]
        closest = min(map(len, others), key=lambda length: (abs(length - len(words)), length))
        rows.append([len(words), closest, *matched, *(each.total() for each in counts)])
    # Sums over the corpus before any ratio: BLEU is not a mean over captions.
    length, closest, *totals = map(sum, zip(*rows, strict=True))
    pairs = zip(totals[:LONGEST], totals[LONGEST:], strict=True)
    shares = [(matched_n + _TINY) / (possible + _SMALL) for matched_n, possible in pairs]
    brevity = math.exp(min(0.0, 1 - (closest + _SMALL) / (length + _TINY)))
    products = accumulate(shares, mul)
    one, two, three, four = (brevity * product ** (1 / n) for n, product in enumerate(products, 1))
    return one, two, three, four
