from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from addkit.data.augmentation import Augmenter, random_boxes
from addkit.data.image_sets import FileImages
from addkit.data.images import ImageFile, Pixels, read_image
from addkit.errors import DataError
from addkit.recipe.tables import Augmentation

SIZE = 64
PIXELS = Pixels(SIZE, 3, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), 80)


def _augmenter(**settings: object) -> Augmenter:
    return Augmenter(Augmentation.model_validate(settings), PIXELS)


CROPS = _augmenter(crop=(0.08, 1.0), flip=0.5)


def _images(path: Path, augmenter: Augmenter, count: int = 1) -> FileImages:
    return FileImages(
        [str(path)] * count, torch.zeros(count, 1, dtype=torch.int64), PIXELS, augmenter
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A smooth JPEG with some grain, 460 x 345."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((460, 345), Image.Resampling.BICUBIC)).astype(float)
    grain = random.normal(0, 5, (345, 460, 1))
    path = tmp_path / "photo.jpg"
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def _slowly(path: Path, seed: int, index: int) -> tuple[Tensor, int]:
    """The whole file decoded, its part cut out; levels, and the scale it could be decoded at."""
    image = read_image(path, 3)
    draws = CROPS.draws(seed, [index])
    part = CROPS.part(draws[:, 0], *image.size)
    left, top = part.left * part.scale, part.top * part.scale
    right, bottom = left + part.width * part.scale, top + part.height * part.scale
    levels = PIXELS.resampled(image.crop((left, top, right, bottom)))
    return CROPS.moved(levels[None], draws)[0], part.scale


def test_training_crops_are_those_of_the_whole_image(photo: Path) -> None:
    seen: dict[int, float] = {}
    levels = torch.empty(60, 3, SIZE, SIZE, dtype=torch.uint8)
    _images(photo, CROPS, 60).levels(range(60), 5, levels)
    for index in range(60):
        reference, scale = _slowly(photo, 5, index)
        difference = (levels[index].float() - reference.float()).abs()
        seen[scale] = max(seen.get(scale, 0.0), float(difference.mean()))
        assert difference.max() <= (0 if scale == 1 else 10)
    assert seen[1] == 0
    assert 0 < seen[2] < 1.5
    assert 0 < seen[4] < 1.5


def test_without_a_seed_an_image_is_the_test_splits_to_the_bit(photo: Path) -> None:
    found = _images(photo, CROPS).batch([0], None).images[0]
    side = 345 * SIZE / 80
    box = ((460 - side) / 2, (345 - side) / 2, (460 + side) / 2, (345 + side) / 2)
    image = Image.open(photo).resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
    levels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXELS.mean, PIXELS.std))
    assert torch.equal(found, (levels / 255 - mean) / std)
    assert torch.equal(found, PIXELS.prepared(read_image(photo, 3)))


def test_two_steps_make_a_batch(photo: Path) -> None:
    images = _images(photo, _augmenter(crop=(0.3, 1.0), erase=1.0, flip=0.5), 4)
    levels = torch.empty(3, *images.level_shape, dtype=torch.uint8)
    images.levels([2, 0, 3], 1, levels)
    batch = images.finished(levels, [2, 0, 3], 1, torch.empty(levels.shape))
    whole = images.batch([2, 0, 3], 1)
    assert torch.equal(batch.images, whole.images)
    assert batch.indices == whole.indices == (2, 0, 3)
    assert (whole.images == 0).flatten(1).any(1).all()


@pytest.mark.parametrize("size", [(90, 3), (2, 70), (500, 375), (375, 500), (64, 64)])
def test_parts_are_random_boxes_on_whole_pixels(size: tuple[int, int]) -> None:
    width, height = size
    draws = CROPS.draws(0, range(200))
    boxes = random_boxes(draws[4:8], (0.08, 1.0), (3 / 4, 4 / 3), height, width)
    scales = set()
    for place, (top, left, down, across) in enumerate(boxes.tolist()):
        part = CROPS.part(draws[:, place], width, height)
        scales.add(part.scale)
        found = [side * part.scale for side in (part.top, part.left, part.height, part.width)]
        wanted = [top, left, max(down, 1), max(across, 1)]
        assert np.abs(np.subtract(found, wanted)).max() <= 2 * part.scale
        assert found[0] + found[2] <= height
        assert found[1] + found[3] <= width
        # Never shrunk below what is shown.
        assert part.scale == 1 or min(part.width, part.height) >= SIZE
    assert (len(scales) > 1) == (min(size) > 2 * SIZE)


def test_a_broken_file_is_named_in_training(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"photo.jpg: cut short or broken \(.*truncated.*\)"):
        _images(photo, CROPS).batch([0], 1)


class _Stored(FileImages):
    def source(self, index: int) -> str:
        return f"shard 7: {index}.jpg"

    def _file(self, index: int) -> ImageFile:
        return io.BytesIO(Path(self._paths[index]).read_bytes())


def test_bytes_from_elsewhere(photo: Path) -> None:
    stored = _Stored([str(photo)], torch.zeros(1, 1), PIXELS, CROPS)
    for seed in (None, 3):
        expected = _images(photo, CROPS).batch([0], seed).images
        assert torch.equal(stored.batch([0], seed).images, expected)
    assert stored.picture(0).size == (460, 345)
    photo.write_bytes(b"")
    for seed in (None, 3):
        with pytest.raises(DataError, match=r"^shard 7: 0.jpg: empty file$"):
            stored.batch([0], seed)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(80, 60), (64, 64), (40, 100), (30, 50), (120, 90)])
def test_resampling_is_pillows(size: tuple[int, int], interpolation: str) -> None:
    pixels = replace(PIXELS, interpolation=interpolation)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for one in (image, image.convert("L")):
        pillow = np.asarray(
            one.resize((SIZE, SIZE), Image.Resampling[interpolation.upper()])
        ).astype(int)
        found = pixels.resampled(one).permute(1, 2, 0).numpy().reshape(pillow.shape)
        assert np.abs(found - pillow).mean() < 0.5
