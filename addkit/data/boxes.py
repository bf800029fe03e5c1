"""Random rectangles: for crops, erasing and cutmix."""

from __future__ import annotations

import torch
from torch import Tensor


def random_boxes(
    draws: Tensor, area: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Tensor:
    """Boxes (B, 4) inside height x width, in pixels: top, left, height, width.

    `draws` (4, B) are uniforms. The share of the area is uniform in `area`; width / height is
    log-uniform in the part of `ratio` at which that area fits; where none does, the box shrinks.
    """
    share = _between(draws[0], *area)
    narrow = (share * width / height).clamp(*ratio).log()
    wide = (width / (share * height)).clamp(*ratio).log()
    aspect = (narrow + draws[1] * (wide - narrow)).exp()
    across = (share * aspect * width * height).sqrt()
    shrink = torch.minimum(width / across, height * aspect / across).clamp(max=1.0)
    across = _pixels(across * shrink).clamp(1, width)
    down = _pixels(across / aspect).clamp(1, height)
    top = _pixels(draws[2] * (height - down))
    left = _pixels(draws[3] * (width - across))
    return torch.stack([top, left, down, across], dim=1)


def covered(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels have their centre in the box of their image: (B, 4) -> bool (B, 1, H, W)."""
    top, left, down, across = boxes[:, :, None].unbind(1)
    rows = torch.arange(height, device=boxes.device) + 0.5
    columns = torch.arange(width, device=boxes.device) + 0.5
    in_rows = (rows >= top) & (rows < top + down)
    in_columns = (columns >= left) & (columns < left + across)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return low + draws * (high - low)


def _pixels(lengths: Tensor) -> Tensor:
    # To 1/64 pixel: exp may differ in its last bit with the batch's size, an image may not.
    return (lengths * 64).round() / 64
