"""CLIP features of images and texts, and the scores between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.errors import DataError
from addkit.metrics.clip.loading import ClipSource, load_clip

BATCH = 64
T = TypeVar("T")
PREFIX = "A photo depicts "
"""Prefix of every caption and reference in Hessel et al."""
WEIGHT = 2.5
"""w, which stretches the usual cosines to about [0, 1]."""


@dataclass(frozen=True, slots=True)
class ClipDescription:
    """Everything that a CLIP score depends on besides image and caption; printed with it."""

    model: str
    weights: str
    prefix: str
    dtype: str

    def __str__(self) -> str:
        return f'{self.model}, weights {self.weights}, prefix "{self.prefix}", {self.dtype}'


class ClipScorer:
    """CLIP score and its reference form (Hessel et al. 2021, arXiv 2104.08718), in fp32.

    Features are computed once and serve any number of caption sets:

        images = scorer.image_features(pictures)
        for captions in rows:
            clip_scores(images, scorer.text_features(captions))

    Args:
        source: see `parse_clip`.
        device: where the model computes. Features come back to the CPU.
        prefix: goes before every caption and every reference.

    Raises:
        DataError: weights cannot be fetched or read, or do not fit the model.
    """

    def __init__(
        self, source: ClipSource, device: torch.device | str = "cpu", prefix: str = PREFIX
    ) -> None:
        self._device = torch.device(device)
        self._clip = load_clip(source, self._device)
        self._prefix = prefix

    def describe(self) -> ClipDescription:
        """Model, weights, prefix and number format."""
        dtype = str(self._clip.model.logit_scale.dtype).removeprefix("torch.")
        return ClipDescription(self._clip.model_name, self._clip.weights_name, self._prefix, dtype)

    @torch.inference_mode()
    def image_features(self, images: Iterable[Image]) -> Tensor:
        """Unit features (n, D) of images in RGB or grey; only a batch is in memory at a time."""
        return self._gathered(
            self._clip.model.encode_image(
                torch.stack([self._clip.preprocess(image) for image in batch]).to(self._device),
                normalize=True,
            )
            for batch in _batches(images)
        )

    @torch.inference_mode()
    def text_features(self, captions: Iterable[str]) -> Tensor:
        """Unit features (n, D) of prefix + caption. What exceeds the model's context is cut."""
        return self._gathered(
            self._clip.model.encode_text(
                self._clip.tokenize([self._prefix + caption for caption in batch]).to(self._device),
                normalize=True,
            )
            for batch in _batches(captions)
        )

    def reference_features(self, references: Sequence[Sequence[str]]) -> list[Tensor]:
        """For each image the unit features (R, D) of its references."""
        features = self.text_features(text for texts in references for text in texts)
        return list(torch.split(features, [len(texts) for texts in references]))

    def score(
        self,
        images: Iterable[Image],
        captions: Sequence[str],
        references: Sequence[Sequence[str]] | None = None,
    ) -> ClipScores:
        """One caption, and references if any, for each image. Raises as `clip_scores`."""
        texts = None if references is None else self.reference_features(references)
        return clip_scores(self.image_features(images), self.text_features(captions), texts)

    def _gathered(self, batches: Iterator[Tensor]) -> Tensor:
        # fp32 on the CPU, whatever the model computes in: scores compare between machines.
        features = [batch.float().cpu() for batch in batches]
        return torch.cat(features) if features else torch.empty(0, 0)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


@dataclass(frozen=True, slots=True)
class ClipScores:
    """Scores of n captions, fp32, each (n,). They compare only under one CLIP and one prefix."""

    cosine: Tensor
    """cos(v, c) of image feature v and caption feature c, in [-1, 1]."""
    clip_score: Tensor
    """CLIP-S = 2.5 max(cos(v, c), 0) (Hessel et al. 2021, section 3), in [0, 2.5]."""
    ref_clip_score: Tensor | None
    """2 s r / (s + r) of s = CLIP-S and r = max(max_i cos(c, c_i), 0) over the image's references
    (same section); 0 where s = r = 0. None without references."""


def clip_scores(
    images: Tensor, captions: Tensor, references: Sequence[Tensor] | None = None
) -> ClipScores:
    """Scores of unit features: images (n, D), captions (n, D), for each image references (R, D).
    Raises `DataError` for other than one caption and at least one reference for each image.
    """
    if len(images) != len(captions):
        raise DataError(f"CLIP score: {len(captions)} captions for {len(images)} images")
    cosine = (images * captions).sum(-1)  # (n,); features are unit vectors.
    clip_score = WEIGHT * cosine.clamp_min(0)
    if references is None:
        return ClipScores(cosine, clip_score, None)
    if len(references) != len(images):
        raise DataError(f"CLIP score: references of {len(references)} images for {len(images)}")
    for index, texts in enumerate(references):
        if len(texts) == 0:
            raise DataError(
                f"CLIP score: image {index} (counted from 0) has no reference; give each image "
                "one or more, or none to any"
            )
    # All references in one row, since images differ in their number of them.
    counts = torch.tensor([len(texts) for texts in references], device=captions.device)
    owners = torch.arange(len(captions), device=captions.device).repeat_interleave(counts)
    cosines = (captions[owners] * torch.cat(list(references))).sum(-1)  # (all references,)
    lowest = captions.new_full((len(captions),), -torch.inf)
    # (n,): the largest cosine of each caption with its own references.
    nearest = lowest.scatter_reduce(0, owners, cosines, "amax").clamp_min(0)
    # Avoids 0 / 0, where both terms of the harmonic mean are 0.
    smallest = torch.finfo(cosine.dtype).tiny
    harmonic = 2 * clip_score * nearest / (clip_score + nearest).clamp_min(smallest)
    return ClipScores(cosine, clip_score, harmonic)
