"""Images and texts to CLIP features and scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from PIL.Image import Image
from torch import Tensor

from addkit.metrics.clip.loading import load_clip
from addkit.metrics.clip.scores import PREFIX, ClipScores, clip_scores
from addkit.metrics.clip.source import ClipSource

BATCH = 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClipDescription:
    """What a CLIP score depends on beside image and caption: shown wherever a score is."""

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
        """Unit features (n, D) of images in RGB or grey; only a batch of them is held at a time."""
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
        told = None if references is None else self.reference_features(references)
        return clip_scores(self.image_features(images), self.text_features(captions), told)

    def _gathered(self, batches: Iterator[Tensor]) -> Tensor:
        features = [batch.float().cpu() for batch in batches]
        return torch.cat(features) if features else torch.empty(0, 0)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
