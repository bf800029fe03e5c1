"""Captions as words: n-grams, and pairs of a caption and its references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
    """Each image's caption with its references.

    Raises:
        ValueError: There are no images, not as many captions as lists of references, or an image
            without a reference.
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
