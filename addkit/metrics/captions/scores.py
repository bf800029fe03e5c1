"""Every caption score at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from addkit.metrics.captions.bleu import bleu
from addkit.metrics.captions.cider_d import cider_d
from addkit.metrics.captions.meteor import meteor, meteor_available
from addkit.metrics.captions.rouge_l import rouge_l
from addkit.metrics.captions.shares import distinct, exact_matches, length_matches, repeats


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """Scores of one caption for each image. Shares in [0, 1], CIDEr-D in [0, 10]."""

    exact_match: float
    """Share of captions that equal one of their references, word for word."""
    bleu1: float
    """BLEU of all captions together, single words (Papineni et al. 2002)."""
    bleu2: float
    """The same up to pairs of words."""
    bleu3: float
    """The same up to three words."""
    bleu4: float
    """The same up to four words, the usual BLEU."""
    meteor: float | None
    """Mean METEOR by nltk (Lavie and Agarwal 2007); None where WordNet is absent."""
    rouge_l: float
    """Mean ROUGE-L, beta = 1.2 (Lin 2004)."""
    cider_d: float
    """Mean CIDEr-D, in [0, 10] (Vedantam et al. 2015); the literature prints it times 100."""
    distinct1: float
    """Different words over all words of all captions (Li et al. 2016)."""
    distinct2: float
    """The same of pairs of words."""
    repeats: float
    """Share of captions with some word twice in a row."""
    length_accuracy: float
    """Share of captions with as many words as one of their references."""
    count: int
    """Images."""
    valid: float | None = None
    """Of several chains: share that are one of the references."""
    any_valid: float | None = None
    """Share of images with at least one such chain."""
    coverage: float | None = None
    """Share of an image's different references that some chain found."""


def score_captions(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score one caption for each image against the image's references.

    Args:
        predicted: Captions, words between blanks, lower case like the references; may be empty.
        references: For each image one or more right captions.

    Raises:
        ValueError: There are no images, not as many captions as lists of references, or an image
            without a reference.
    """
    both = (predicted, references)
    bleu1, bleu2, bleu3, bleu4 = bleu(*both)
    return CaptionScores(
        exact_match=fmean(exact_matches(*both)),
        bleu1=bleu1,
        bleu2=bleu2,
        bleu3=bleu3,
        bleu4=bleu4,
        meteor=None if meteor_available() else fmean(meteor(*both)),
        rouge_l=fmean(rouge_l(*both)),
        cider_d=fmean(cider_d(*both)),
        distinct1=distinct(predicted, 1),
        distinct2=distinct(predicted, 2),
        repeats=fmean(repeats(predicted)),
        length_accuracy=fmean(length_matches(*both)),
        count=len(predicted),
    )
