from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2

from addkit.data.augmentation import Augmenter
from addkit.data.image_sets import FileImages
from addkit.data.images import Pixels, to_levels
from addkit.recipe.tables import Augmentation


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


# A picture of 40 x 20 pixels in four upright stripes of 10, so that each fit has a closed form.

STRIPES = (250, 20, 120, 60)


def _striped(fit: str, size: int, mean: float = 0.5) -> Image.Image:
    image = Image.fromarray(np.tile(np.repeat(np.uint8(STRIPES), 10), (20, 1)))
    return Pixels(size, 1, (mean,), (1.0,), size, "bilinear", fit).to_square(image)


def test_crop_keeps_the_square_in_the_middle() -> None:
    assert np.array_equal(_striped("crop", 20), np.tile(np.repeat((20, 120), 10), (20, 1)))


def test_squash_keeps_everything_and_no_proportion() -> None:
    squashed = np.asarray(_striped("squash", 40))
    # Upright stripes stay what they are where the width stays, whatever becomes of the height.
    assert np.array_equal(squashed, np.tile(np.repeat(STRIPES, 10), (40, 1)))


@pytest.mark.parametrize("mean", [0.0, 0.2, 1.0])
def test_letterbox_keeps_everything_on_the_mean_colour(mean: float) -> None:
    boxed = np.asarray(_striped("letterbox", 40, mean))
    # 40 x 20 in 40 x 40 without resampling: 10 rows above and below.
    assert np.array_equal(boxed[10:30], np.tile(np.repeat(STRIPES, 10), (20, 1)))
    assert set(boxed[[*range(10), *range(30, 40)]].flat) == {round(255 * mean)}


def test_letterbox_of_a_thread_is_a_line() -> None:
    pixels = Pixels(16, 3, (0.0,) * 3, (1.0,) * 3, 16, "bicubic", "letterbox")
    boxed = np.asarray(pixels.to_square(Image.new("RGB", (60_000, 1), "white")))
    assert (boxed.any(2).sum(0) == 1).all()


def test_training_and_evaluation_fit_alike(tmp_path: Path) -> None:
    _photo(60, 30).save(tmp_path / "a.png")
    pixels = Pixels(16, 3, (0.0,) * 3, (1.0,) * 3, 16, "bicubic", "letterbox")
    crops = [
        FileImages(
            [str(tmp_path / "a.png")],
            torch.zeros(1, 1, dtype=torch.int64),
            pixels,
            Augmenter(Augmentation.model_validate(settings), pixels),
        )
        for settings in ({}, {"crop": (0.3, 0.4)})
    ]
    whole = pixels.prepared(Image.open(tmp_path / "a.png"))
    for seed in (None, 3):
        assert torch.equal(crops[0].batch([0], seed).images[0], whole)
    # A random crop replaces the fit: no row is black.
    assert crops[1].batch([0], 3).images.min() > 0.1
