"""Every caption score at once, and the scores that are shares of captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from addkit.metrics.captions.coco import bleu, cider_d, ngrams, paired, rouge_l
from addkit.metrics.captions.meteor import meteor, meteor_available


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
    """Share of several chains whose caption is one of the references."""
    any_valid: float | None = None
    """Share of images with at least one such chain."""
    coverage: float | None = None
    """Share of an image's different references that some chain gives."""
    perplexity: float | None = None
    """exp of the mean -log p of a token of the first true captions, ends included, by the exact
    likelihood; None where the process has none, or some token has probability 0."""


def score_captions(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score one caption for each image against the image's references. Raises `ValueError` if there
    are no images, not as many captions as lists of references, or an image without a reference.

    Args:
        predicted: Captions, words between blanks, lower case like the references; may be empty.
        references: For each image one or more right captions.
    """
    # Each metric checks the pairs itself, since each can be called alone.
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


def exact_matches(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Which captions equal one of their references, word for word."""
    return [
        text.split() in [reference.split() for reference in texts]
        for text, texts in paired(predicted, references)
    ]


def length_matches(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Which captions have as many words as one of their references."""
    return [
        len(text.split()) in [len(reference.split()) for reference in texts]
        for text, texts in paired(predicted, references)
    ]


def repeats(predicted: Sequence[str]) -> list[bool]:
    """Which captions have some word twice in a row."""
    return [any(word == after for word, after in pairwise(text.split())) for text in predicted]


def distinct(predicted: Sequence[str], n: int) -> float:
    """Different n-grams over all n-grams of all captions, in [0, 1]; 0 where there are none.

    Distinct-n of Li et al. 2016 (arXiv 1510.03055).
    """
    # Over all captions together, as in the paper: not a mean over captions.
    every = [ngram for text in predicted for ngram in ngrams(text.split(), n)]
    return len(set(every)) / len(every) if every else 0.0


@dataclass(frozen=True, slots=True)
class ChainValidity:
    """Captions of several chains against all valid captions; shares in [0, 1]."""

    valid: float
    """Share of an image's chains whose caption is one of the references; mean over images."""
    any_valid: float
    """Share of images with at least one such chain."""
    coverage: float
    """Share of an image's different references that some chain gives; mean over images."""


def chain_validity(
    chains: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> ChainValidity:
    """The captions of each image's chains against all of its valid captions, word for word. Raises
    `ValueError` if there are no images, not as many lists of chains as of references, or an image
    without a chain or without a reference.
    """
    if len(chains) != len(references):
        raise ValueError(f"Chains of {len(chains)} images but references of {len(references)}.")
    if not chains or not all(chains) or not all(references):
        raise ValueError("At least one image, with a chain and a reference each, is needed.")
    rows = []
    for texts, truths in zip(chains, references, strict=True):
        # Word for word: blanks do not count, and a reference that is given twice counts once.
        forms = {tuple(truth.split()) for truth in truths}
        captions = [tuple(text.split()) for text in texts]
        valid = [caption in forms for caption in captions]
        rows.append((fmean(valid), any(valid), len(forms & set(captions)) / len(forms)))
    return ChainValidity(*map(fmean, zip(*rows, strict=True)))
