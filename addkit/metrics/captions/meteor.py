"""METEOR by nltk, where WordNet is present."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

from addkit.errors import DataError
from addkit.metrics.captions.coco import paired

_ABSENT = (
    "METEOR needs WordNet, which is not on this machine: run `python -m nltk.downloader wordnet`, "
    "set NLTK_DATA to a folder with corpora/wordnet, or install Debian's wordnet-base."
)


def meteor_available() -> str | None:
    """None where METEOR can be computed, else one line with the reason and the remedy."""
    from addkit.metrics.captions.wordnet import find_wordnet

    return _ABSENT if find_wordnet() is None else None


def meteor(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """METEOR of each caption, in [0, 1], the largest over its references; a system's is the mean.

    nltk's: words are matched exactly, then by Porter stem, then as WordNet synonyms; with P and R
    the shares of the caption's and the reference's words that are matched, and c the number of runs
    that the m matches form,

        (1 - 0.5 (c / m)^3) P R / (0.9 P + 0.1 R)

    (Lavie and Agarwal 2007). nltk looks synonyms up by stem, and so misses words whose stem is no
    word (`picture`, stem `pictur`). Not the Java METEOR 1.5 of the COCO evaluation, which also
    matches paraphrases and weighs function words: don't compare with numbers from there. Raises
    `DataError` if WordNet is not on this machine.
    """
    pairs = paired(predicted, references)
    # nltk takes more than a second to import.
    from addkit.metrics.captions.wordnet import find_wordnet

    home = find_wordnet()
    if home is None:
        raise DataError(_ABSENT)
    from nltk.translate.meteor_score import meteor_score

    stemmer, synonyms = _lookups(home)
    return [
        float(
            meteor_score(
                [other.split() for other in texts], text.split(), stemmer=stemmer, wordnet=synonyms
            )
        )
        for text, texts in pairs
    ]


@cache
def _lookups(home: Any) -> tuple[Any, Any]:
    """Porter's stemmer and WordNet's synonyms, cached by word: captions share their words."""
    from nltk.stem.porter import PorterStemmer

    from addkit.metrics.captions.wordnet import open_wordnet

    stemmer = SimpleNamespace(stem=cache(PorterStemmer().stem))
    return stemmer, SimpleNamespace(synsets=cache(open_wordnet(home).synsets))
