"""Mixup and cutmix for a label that must stay one-hot: each reuse copy gets one of the two."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from addkit.data.boxes import covered
from addkit.recipe.model import Augmentation

__all__ = ["mix"]


def mix(
    images: Tensor,
    labels: Tensor,
    reuse: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W), each mixed with another of the batch; labels (B, N) -> (B, reuse, N).

    An image keeps the share lam of itself: mixup adds (lam ~ Beta(mixup, mixup)), cutmix pastes a
    box (lam ~ Beta(cutmix, cutmix), then corrected to the box's pixels); with both, a coin
    decides for each image. Each reuse copy takes the image's own label with probability lam,
    else its partner's, so labels are right in proportion. With both at 0 nothing is mixed or
    drawn. Everything random comes from the generator.
    """
    copies = labels[:, None, :].expand(-1, reuse, -1)
    if not augmentation.mixup and not augmentation.cutmix:
        return images, copies
    partner = torch.randperm(len(images), generator=generator, device=generator.device)
    partner = partner.to(images.device)
    weights = _weights(images, augmentation, generator)
    mixed = weights * images + (1 - weights) * images[partner]
    own = _uniform((len(images), reuse), images, generator) < weights.mean((1, 2, 3))[:, None]
    return mixed.to(images.dtype), torch.where(own[..., None], copies, copies[partner])


def _weights(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """How much of itself each pixel keeps, in [0, 1]; broadcasts to (B, 1, H, W)."""
    if not augmentation.cutmix:
        return _blends(augmentation.mixup, images, generator)
    if not augmentation.mixup:
        return _pastes(augmentation.cutmix, images, generator)
    blends = _blends(augmentation.mixup, images, generator)
    pastes = _pastes(augmentation.cutmix, images, generator)
    coin = _uniform((len(images), 1, 1, 1), images, generator)
    return torch.where(coin < 0.5, blends, pastes)


def _blends(beta: float, images: Tensor, generator: torch.Generator) -> Tensor:
    return _betas(beta, images, generator)[:, None, None, None]


def _pastes(beta: float, images: Tensor, generator: torch.Generator) -> Tensor:
    height, width = images.shape[2:]
    extent = torch.tensor([height, width], device=images.device)
    sides = (1 - _betas(beta, images, generator)).sqrt()[:, None] * extent
    corners = _uniform((len(images), 2), images, generator) * extent - sides / 2
    # The box may stick out, as in the paper's code; only pixels that it covers count.
    return 1 - covered(torch.cat([corners, sides], 1), height, width).float()


def _betas(beta: float, images: Tensor, generator: torch.Generator) -> Tensor:
    # torch's own Beta reads the global generator.
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    values = np.random.default_rng(int(seed)).beta(beta, beta, len(images))
    return torch.from_numpy(values).to(images.device, torch.float32)


def _uniform(shape: tuple[int, ...], images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device).to(images.device)
