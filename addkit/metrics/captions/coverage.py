"""Several captions an image: are they valid, and are they all of the valid ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class ChainValidity:
    """How the captions of several chains meet the valid ones: shares in [0, 1]."""

    valid: float
    """Share of an image's chains whose caption is one of the references; mean over images."""
    any_valid: float
    """Share of images with at least one such chain."""
    coverage: float
    """Share of an image's different references that some chain found; mean over images."""


def chain_validity(
    chains: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> ChainValidity:
    """The captions of each image's chains against all of its valid captions, word for word.

    Raises:
        ValueError: There are no images, not as many lists of chains as of references, or an image
            without a chain or without a reference.
    """
    if len(chains) != len(references):
        raise ValueError(f"Chains of {len(chains)} images but references of {len(references)}.")
    if not chains or not all(chains) or not all(references):
        raise ValueError("At least one image, with a chain and a reference each, is needed.")
    rows = [_of_image(*image) for image in zip(chains, references, strict=True)]
    valid, any_valid, coverage = map(fmean, zip(*rows, strict=True))
    return ChainValidity(valid, any_valid, coverage)


def _of_image(chains: Sequence[str], references: Sequence[str]) -> tuple[float, bool, float]:
    forms = {tuple(text.split()) for text in references}
    captions = [tuple(text.split()) for text in chains]
    valid = [caption in forms for caption in captions]
    return fmean(valid), any(valid), len(forms & set(captions)) / len(forms)
