from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

from addkit.data.images import Pixels, to_levels


def _photo(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (40, 30)])
def test_fit_is_resize_and_centre_crop(size: tuple[int, int]) -> None:
    pixels = Pixels(56, 3, (0.5,) * 3, (0.5,) * 3, 64)
    image = _photo(*size)
    bicubic = v2.InterpolationMode.BICUBIC
    reference = v2.Compose([v2.Resize(64, bicubic), v2.CenterCrop(56)])(image)
    difference = (to_levels(pixels.to_square(image)).float() - to_levels(reference)) / 255
    assert difference.abs().mean() < 0.01


def test_an_image_of_the_right_size_stays(tmp_path: object) -> None:
    image = _photo(32, 32)
    pixels = Pixels(32, 3, (0.0,) * 3, (1.0,) * 3, 32)
    assert torch.equal(pixels.prepared(image), to_levels(image).float() / 255)


def test_normalised_by_channel() -> None:
    pixels = Pixels(4, 3, (0.1, 0.2, 0.3), (1.0, 2.0, 4.0), 4)
    found = pixels.normalise(torch.full((2, 3, 4, 4), 0.5))
    assert found[1, :, 0, 0].tolist() == pytest.approx([0.4, 0.15, 0.05])


def test_a_thread_of_an_image_does_not_blow_up() -> None:
    pixels = Pixels(16, 1, (0.0,), (1.0,), 16)
    assert pixels.to_square(Image.new("L", (60_000, 1))).size == (16, 16)
