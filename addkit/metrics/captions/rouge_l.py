"""ROUGE-L (Lin 2004) as the COCO caption evaluation computes it."""

from __future__ import annotations

from collections.abc import Sequence

from addkit.metrics.captions.words import paired

_BETA = 1.2
"""Weight of recall against precision in the COCO evaluation."""


def rouge_l(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """ROUGE-L of each caption, in [0, 1].

    (1 + beta^2) P R / (R + beta^2 P) with beta = 1.2, where P and R are the longest common
    subsequence over the caption's and the reference's length, each the largest over the
    references. P and R may come from different references.
    """
    pairs = paired(predicted, references)
    return [_score(_words(text), [_words(one) for one in texts]) for text, texts in pairs]


def _words(text: str) -> list[str]:
    # pycocoevalcap splits at each blank, so that an empty text holds one empty word.
    return text.split() or [""]


def _score(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    common = [(_longest_common(words, other), len(other)) for other in references]
    precision = max(shared for shared, _ in common) / len(words)
    recall = max(shared / length for shared, length in common)
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of its table at a time as bits (Hyyro 2004).

    Bit i of `row` is 0 where the table grows from column i to i + 1.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        hits = row & places.get(word, 0)
        row = ((row + hits) | (row - hits)) & every
    return len(first) - row.bit_count()
