"""From CLIP features to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from addkit.errors import DataError

PREFIX = "A photo depicts "
"""What Hessel et al. put before every caption and reference."""
WEIGHT = 2.5
"""w, which stretches the usual cosines to about [0, 1]."""


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

    Raises:
        DataError: other than one caption and at least one reference for each image.
    """
    _refuse_misfits(images, captions, references)
    cosine = (images * captions).sum(-1)
    clip_score = WEIGHT * cosine.clamp_min(0)
    if references is None:
        return ClipScores(cosine, clip_score, None)
    nearest = _nearest(captions, references).clamp_min(0)
    smallest = torch.finfo(cosine.dtype).tiny
    harmonic = 2 * clip_score * nearest / (clip_score + nearest).clamp_min(smallest)
    return ClipScores(cosine, clip_score, harmonic)


def _nearest(captions: Tensor, references: Sequence[Tensor]) -> Tensor:
    """The largest cosine of each caption with its own references, (n,)."""
    counts = torch.tensor([len(one) for one in references], device=captions.device)
    owners = torch.arange(len(captions), device=captions.device).repeat_interleave(counts)
    cosines = (captions[owners] * torch.cat(list(references))).sum(-1)
    lowest = captions.new_full((len(captions),), -torch.inf)
    return lowest.scatter_reduce(0, owners, cosines, "amax")


def _refuse_misfits(images: Tensor, captions: Tensor, references: Sequence[Tensor] | None) -> None:
    if len(images) != len(captions):
        raise DataError(f"CLIP score: {len(captions)} captions for {len(images)} images")
    if references is None:
        return
    if len(references) != len(images):
        raise DataError(f"CLIP score: references of {len(references)} images for {len(images)}")
    for place, one in enumerate(references):
        if len(one) == 0:
            raise DataError(
                f"CLIP score: image {place} (counted from 0) has no reference; give each image "
                "one or more, or none to any"
            )
