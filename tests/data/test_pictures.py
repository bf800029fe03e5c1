from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from addkit.data.augmentation import Augmenter
from addkit.data.digits import Digits
from addkit.data.folders import Listing
from addkit.data.image_sets import FileImages
from addkit.data.images import Pixels
from addkit.data.settings import DigitsConfig
from addkit.errors import DataError
from addkit.recipe.tables import Augmentation

Paint = Callable[..., Path]

PIXELS = Pixels(8, 3, (0.5,) * 3, (0.5,) * 3, 8)
AUGMENTER = Augmenter(Augmentation.model_validate({}), PIXELS)


def test_of_a_file_as_it_is_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((5, 7, 4), dtype=np.uint8)
    pixels[0, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    images = FileImages([str(tmp_path / "a.png")], torch.tensor([[4, 2]]), PIXELS, AUGMENTER)
    picture = images.picture(0)
    assert (picture.mode, picture.size) == ("RGB", (7, 5))
    assert picture.getpixel((3, 0)) == (0, 0, 0)
    assert picture.getpixel((3, 1)) == (255, 255, 255)
    assert images.batch([0], None).labels.tolist() == [[4, 2]]


def test_of_a_file_that_went(tmp_path: Path) -> None:
    listing = Listing((str(tmp_path / "gone.png"),), (1,))
    images = FileImages(listing.paths, listing.column(), PIXELS, AUGMENTER)
    assert images.labels.tolist() == [[1]]
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        images.picture(0)


def test_of_bitmaps_from_0_to_16() -> None:
    test = Digits(DigitsConfig()).split("test")
    picture = test.picture(0)
    assert (picture.mode, picture.size) == ("L", (8, 8))
    shown = test.batch([0], None).images[0, 0] * 0.376 + 0.3053
    assert np.allclose(np.asarray(picture) / 255, shown.numpy(), atol=1 / 255)
