"""Mixup and cutmix for a label that must stay one-hot: each reuse copy gets one of the two."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from addkit.data.boxes import covered
from addkit.plugin.facts import Batch
from addkit.recipe.model import Augmentation


def pick_answers(batch: Batch, reuse: int, generator: torch.Generator) -> Tensor:
    """The labels (B, R, N) of each image's copies, one of its right answers each.

    Copy j takes answer floor(((u + j / R) mod 1) C) of C, so that copies differ where they can.
    """
    if batch.references is None or batch.reference_counts is None:
        return batch.labels[:, None, :].expand(-1, reuse, -1)
    references, counts = batch.references, batch.reference_counts
    u = torch.rand((len(counts), 1), generator=generator, device=generator.device)
    copy = torch.arange(reuse, device=u.device) / reuse
    chosen = (((u + copy) % 1.0).to(counts.device) * counts.unsqueeze(1)).long()
    chosen = torch.minimum(chosen, counts.unsqueeze(1) - 1)
    return references.gather(1, chosen.unsqueeze(-1).expand(-1, -1, references.shape[-1]))


def mix(
    images: Tensor,
    copies: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W), each mixed with another of the batch, and their labels (B, R, N).

    An image keeps the share lam of itself: mixup adds (lam ~ Beta(mixup, mixup)), cutmix pastes a
    box (lam ~ Beta(cutmix, cutmix), then corrected to the box's pixels); with both, a coin
    decides for each image. Each reuse copy takes the image's own label with probability lam,
    else its partner's, so labels are right in proportion. With both at 0 nothing is mixed or
    drawn. Everything random comes from the generator.
    """
    if not augmentation.mixup and not augmentation.cutmix:
        return images, copies
    partner = torch.randperm(len(images), generator=generator, device=generator.device)
    partner = partner.to(images.device)
    weights = _weights(images, augmentation, generator)
    mixed = weights * images + (1 - weights) * images[partner]
    own = _uniform(copies.shape[:2], images, generator) < weights.mean((1, 2, 3))[:, None]
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
