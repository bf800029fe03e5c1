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
    scores = []
    for text, texts in paired(predicted, references):
        # pycocoevalcap splits at each blank, so an empty text has one empty word.
        words = text.split() or [""]
        others = [other.split() or [""] for other in texts]
        common = [(_longest_common(words, other), len(other)) for other in others]
        precision = max(shared for shared, _ in common) / len(words)
        recall = max(shared / length for shared, length in common)
        weighted = (1 + _BETA**2) * precision * recall
        scores.append(weighted / (recall + _BETA**2 * precision) if precision else 0.0)
    return scores


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of its table at a time as bits (Hyyro 2004).

    Bit i of `row` is 0 where the table grows from column i to i + 1.
    """
    columns: dict[str, int] = {}  # Word -> bits of its columns.
    for column, word in enumerate(first):
        columns[word] = columns.get(word, 0) | 1 << column
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        hits = row & columns.get(word, 0)
        # The carry of the sum moves each step of the table to the left of its next match.
        row = ((row + hits) | (row - hits)) & every
    return len(first) - row.bit_count()
