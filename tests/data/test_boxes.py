from __future__ import annotations

import pytest
import torch

from addkit.data.augmentation import covered, random_boxes
from addkit.diffusion.randomness import uniforms


def _draws(count: int = 2000) -> torch.Tensor:
    return uniforms(0, torch.arange(count), 4).T.contiguous()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (10, 90), (300, 7), (1, 1)])
def test_boxes_lie_inside(height: int, width: int) -> None:
    top, left, down, across = random_boxes(_draws(), (0.08, 1.0), (3 / 4, 4 / 3), height, width).T
    assert min(top.min(), left.min()) >= 0
    assert min(down.min(), across.min()) >= 1
    assert (top + down).max() <= height
    assert (left + across).max() <= width


def test_area_and_ratio_are_as_asked() -> None:
    _, _, down, across = random_boxes(_draws(), (0.2, 0.6), (0.5, 2.0), 100, 100).T
    share = down * across / 100**2
    assert share.min() > 0.199
    assert share.max() < 0.601
    assert float(share.mean()) == pytest.approx(0.4, abs=0.01)
    assert (across / down).min() > 0.49
    assert (across / down).max() < 2.01


def test_the_whole_square_is_the_whole_square() -> None:
    boxes = random_boxes(_draws(10), (1.0, 1.0), (3 / 4, 4 / 3), 28, 28)
    assert torch.equal(boxes, torch.tensor([[0.0, 0, 28, 28]], dtype=boxes.dtype).expand(10, 4))


def test_covered_counts_pixel_centres() -> None:
    mask = covered(torch.tensor([[1.0, 0.0, 2.0, 1.0], [-3.0, 2.6, 9.0, 9.0]]), 4, 4)
    assert mask.shape == (2, 1, 4, 4)
    assert mask[0, 0].nonzero().tolist() == [[1, 0], [2, 0]]
    assert mask[1, 0].all(0).tolist() == [False, False, False, True]
