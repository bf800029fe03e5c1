"""BLEU, ROUGE-L and CIDEr-D as the COCO caption evaluation (pycocoevalcap) computes them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import accumulate
from operator import mul, or_

LONGEST = 4
"""BLEU and CIDEr-D count n-grams of 1 to 4 words."""

Ngram = tuple[str, ...]


def ngrams(words: Sequence[str], n: int) -> Iterator[Ngram]:
    """Every n neighbours, from left to right; none where there are fewer than n words."""
    # Shifted copies side by side; zip stops at the shortest, the last full n-gram.
    return zip(*(words[start:] for start in range(n)), strict=False)


def ngram_counts(words: Sequence[str]) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, one counter for each n = 1..4."""
    return [Counter(ngrams(words, n)) for n in range(1, LONGEST + 1)]


def paired(
    predicted: Sequence[str], references: Sequence[Sequence[str]]
) -> list[tuple[str, Sequence[str]]]:
    """Each image's caption with its references. Raises `ValueError` if there are no images, not as
    many captions as lists of references, or an image without a reference.
    """
    if len(predicted) != len(references):
        raise ValueError(
            f"{len(predicted)} captions but {len(references)} lists of references; "
            "each image needs one of both."
        )
    if not predicted:
        raise ValueError("No captions to score.")
    for number, texts in enumerate(references):
        # A string is a sequence of strings, too: its letters would be scored as captions.
        if isinstance(texts, str):
            raise ValueError(f"The references of image {number} are one text; give a list of them.")
        if not texts:
            raise ValueError(f"Image {number} has no references; leave it out.")
    return list(zip(predicted, references, strict=True))


def leave_one_out(references: Sequence[Sequence[str]]) -> list[tuple[str, list[str]]]:
    """Each reference with the others of its image: how well people agree.

    Images with a single reference are left out. `zip(*leave_one_out(references))` gives what
    `score_captions` takes; an image then counts once for each of its references.
    """
    return [
        (text, [*texts[:number], *texts[number + 1 :]])
        for texts in references
        if len(texts) > 1
        for number, text in enumerate(texts)
    ]


_TINY, _SMALL = 1e-15, 1e-9
"""pycocoevalcap's: added to what matches and to what could, so that 0 / 0 is next to nothing."""
_BETA = 1.2
"""Weight of recall against precision in ROUGE-L."""
_SIGMA = 6.0
"""Spread of CIDEr-D's Gaussian penalty on a difference in length, in words."""
_FACTOR = 10.0


def bleu(
    predicted: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of all captions together, each in [0, 1] (Papineni et al. 2002).

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
        # An n-gram matches at most as often as in the reference that has it most: | is the larger
        # count of two counters, & the smaller.
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
    # The geometric mean of the first n shares.
    one, two, three, four = (brevity * product ** (1 / n) for n, product in enumerate(products, 1))
    return one, two, three, four


def rouge_l(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """ROUGE-L of each caption, in [0, 1] (Lin 2004).

    (1 + beta^2) P R / (R + beta^2 P) with beta = 1.2, where P and R are the longest common
    subsequence over the caption's and the reference's length, each the largest over the
    references. P and R may come from different references.
    """
    scores = []
    for text, texts in paired(predicted, references):
        # pycocoevalcap splits at each blank, so an empty text has one empty word.
        words = text.split() or [""]
        others = [other.split() or [""] for other in texts]
        common = [(longest_common(words, other), len(other)) for other in others]
        precision = max(shared for shared, _ in common) / len(words)
        recall = max(shared / length for shared, length in common)
        weighted = (1 + _BETA**2) * precision * recall
        scores.append(weighted / (recall + _BETA**2 * precision) if precision else 0.0)
    return scores


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of its table at a time as bits (Hyyro 2004).

    Bit i of `row` is 0 where the table grows from column i to i + 1.
    """
    columns: dict[str, int] = {}  # Word -> bits of its columns.
    for column, word in enumerate(first):
        columns[word] = columns.get(word, 0) | 1 << column
    # A row costs a few operations on one Python integer, however long the caption.
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        hits = row & columns.get(word, 0)
        # The carry of the sum moves each step of the table to the left of its next match.
        row = ((row + hits) | (row - hits)) & every
    return len(first) - row.bit_count()


def cider_d(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, in [0, 10]; the score of a system is the mean.

    Section 5 of Vedantam, Zitnick and Parikh 2015: 10 times the mean over n = 1..4 and the m
    references s_j of

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

    def weigh(text: str) -> list[dict[Ngram, float]]:
        """Weights of the n-grams, one table for each n = 1..4."""
        return [
            {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}
            for counts in ngram_counts(text.split())
        ]

    scores = []
    for text, texts in pairs:
        weights, total = weigh(text), 0.0
        for reference in texts:
            cosines = 0.0  # Summed over n.
            for own, other in zip(weights, weigh(reference), strict=True):
                norms = math.hypot(*own.values()) * math.hypot(*other.values())
                # No n-gram, or only n-grams that every image has.
                if not norms:
                    continue
                # Clipped to the reference's weight, so that repeating a word gains nothing.
                shared = sum(min(own[k], other[k]) * other[k] for k in own.keys() & other.keys())
                cosines += shared / norms
            gap = len(text.split()) - len(reference.split())
            total += math.exp(-(gap**2) / (2 * _SIGMA**2)) * cosines
        scores.append(_FACTOR * total / (LONGEST * len(texts)))
    return scores
