"""Classifier-free guidance with a learned null condition."""

from __future__ import annotations

import torch
from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Uncond + w (cond - uncond): w = 1 is off, w = 0 ignores the image."""
    return torch.lerp(unconditional, conditional, scale)


def drop_condition(
    condition: Tensor, null: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Replace the condition (B, C, V) of a random share of images by the null condition (V,).

    Whole images, not rows: the reuse copies of an image share one prepared condition.
    """
    if share == 0:
        return condition
    drawn = torch.rand((condition.shape[0], 1, 1), generator=generator, device=generator.device).to(
        condition.device
    )
    return torch.where(drawn < share, null.to(condition.dtype), condition)
