from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from addkit.data.augmentation import seeded
from addkit.data.digits import Digits
from addkit.data.image_folder import ImageFolder
from addkit.data.image_sets import Bitmaps, MemoryImages
from addkit.data.settings import DigitsConfig, ImageFolderConfig
from addkit.data.source import Source
from addkit.errors import RecipeError
from addkit.plugin.protocols import ImageSet
from addkit.recipe.tables import Augmentation

CHANGES: list[dict[str, object]] = [
    {"flip": 0.5},
    {"shift": 2},
    {"crop": (0.2, 1.0)},
    {"erase": 0.7},
    {"rand_augment": "rand-m9-mstd0.5-inc1"},
    {"flip": 0.5, "shift": 1, "crop": (0.5, 1.0), "erase": 0.5, "rand_augment": "rand-m5-n3"},
]


def _augmentation(settings: dict[str, object]) -> Augmentation:
    return Augmentation.model_validate(settings)


@pytest.fixture(params=["memory", "files", "grey files"])
def source(request: pytest.FixtureRequest, pets: Path) -> Source:
    if request.param == "memory":
        return Digits(DigitsConfig())
    channels = 3 if request.param == "files" else 1
    settings = {"root": pets, "image_size": 12, "channels": channels}
    return ImageFolder(ImageFolderConfig.model_validate(settings))


@pytest.mark.parametrize("settings", CHANGES)
def test_an_image_is_the_same_in_whatever_batch(
    source: Source, settings: dict[str, object]
) -> None:
    train = source.augmented(_augmentation(settings)).split("train")
    batch = train.batch(range(16), seed=4)
    assert batch.images.isfinite().all()
    alone = [train.batch([index], seed=4).images[0] for index in range(16)]
    assert torch.equal(batch.images, torch.stack(alone))
    shuffled = train.batch([9, 3, 15, 4, 0], seed=4)
    assert torch.equal(shuffled.images, batch.images[[9, 3, 15, 4, 0]])


@pytest.mark.parametrize("settings", CHANGES)
def test_seeds_differ_and_none_is_plain(source: Source, settings: dict[str, object]) -> None:
    train = source.augmented(_augmentation(settings)).split("train")
    plain = source.split("train").batch(range(16), None).images
    first, second = (train.batch(range(16), seed).images for seed in (1, 2))
    assert torch.equal(train.batch(range(16), None).images, plain)
    assert first.shape == plain.shape
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)


def test_no_augmentation_is_plain(source: Source) -> None:
    train = source.split("train")
    assert torch.equal(train.batch([3, 1], 7).images, train.batch([3, 1], None).images)


@pytest.mark.parametrize("settings", CHANGES)
def test_global_generators_stay_as_they_were(source: Source, settings: dict[str, object]) -> None:
    train = source.augmented(_augmentation(settings)).split("train")
    with seeded(5):
        wanted = random.random(), float(np.random.rand()), float(torch.rand(()))
    with seeded(5):
        train.batch(range(4), seed=1)
        assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == wanted


def _ramps(settings: dict[str, object], count: int = 400) -> tuple[ImageSet, torch.Tensor]:
    """Images whose pixel at (row, column) is 16 row + column, all alike."""
    rows = torch.arange(8, dtype=torch.uint8)
    ramp = (16 * rows[:, None] + rows).expand(count, 1, 8, 8)
    labels = torch.zeros(count, 1, dtype=torch.int64)
    bitmaps = Bitmaps(ramp, 1, labels, ("ramp",) * count)
    source = Digits(DigitsConfig(mean=(0.0,), std=(1.0,))).augmented(_augmentation(settings))
    images: ImageSet = MemoryImages(bitmaps, source.pixels, source._augmenter)
    return images, ramp[0, 0].float()


def test_flips_are_flips() -> None:
    images, ramp = _ramps({"flip": 0.25})
    seen = images.batch(range(400), 0).images[:, 0]
    flipped = (seen == ramp.flip(1)).all(2).all(1)
    assert ((seen == ramp).all(2).all(1) | flipped).all()
    assert float(flipped.float().mean()) == pytest.approx(0.25, abs=0.07)


def test_shifts_reach_as_far_as_asked_and_repeat_the_edge() -> None:
    images, ramp = _ramps({"shift": 2})
    seen = images.batch(range(400), 0).images[:, 0]
    centre = seen[:, 4, 4]
    down, across = 4 - centre.div(16, rounding_mode="floor"), 4 - centre % 16
    assert set(down.tolist()) == set(across.tolist()) == {-2, -1, 0, 1, 2}
    place = torch.arange(8)
    for image, y, x in zip(seen, down.long(), across.long(), strict=True):
        rows, columns = (place - y).clamp(0, 7), (place - x).clamp(0, 7)
        assert torch.equal(image, ramp[rows][:, columns])


def test_crops_zoom_in() -> None:
    images, ramp = _ramps({"crop": (0.25, 0.25)})
    seen = images.batch(range(400), 0).images[:, 0]
    spread = seen.amax(1).amax(1) - seen.amin(1).amin(1)
    assert (spread < ramp.max()).all()
    assert (spread > 20).all()


def test_a_whole_crop_changes_nothing() -> None:
    images, ramp = _ramps({"crop": (1.0, 1.0)})
    seen = images.batch(range(5), 0).images
    assert torch.allclose(seen, ramp.expand(5, 1, 8, 8), atol=1e-3)


def test_erased_rectangles_are_the_mean() -> None:
    images, ramp = _ramps({"erase": 0.5})
    seen = images.batch(range(400), 0).images[:, 0]
    changed = seen != ramp
    assert (seen[changed] == 0).all()
    touched = changed.any(2).any(1)
    # The ramp's one zero pixel can hide a small box.
    assert float(touched.float().mean()) == pytest.approx(0.5, abs=0.08)
    assert changed[touched].float().mean((1, 2)).max() < 0.45


def test_switching_one_change_leaves_the_others() -> None:
    flipped = _ramps({"flip": 0.5})[0].batch(range(50), 3).images
    both = _ramps({"flip": 0.5, "erase": 1.0})[0].batch(range(50), 3).images
    assert torch.equal(both[both != 0], flipped[both != 0])


def test_file_crops_of_any_shape(tmp_path: Path, paint: Callable[..., Path]) -> None:
    for kind, (width, height) in {"flat": (90, 3), "tall": (2, 70)}.items():
        paint(tmp_path / kind / "1.png", width, height)
        paint(tmp_path / kind / "2.png", width, height)
    folder = ImageFolder(ImageFolderConfig.model_validate({"root": tmp_path, "image_size": 8}))
    train = folder.augmented(_augmentation({"crop": (0.08, 1.0)})).split("train")
    assert train.batch([0, 1], 0).images.shape == (2, 3, 8, 8)


@pytest.mark.parametrize("policy", ["rand-m10-n8-p1", "rand-m10-n8-p1-inc1", "rand-m0-n8-p1"])
def test_rand_augment_survives_its_strongest_levels(policy: str) -> None:
    train = Digits(DigitsConfig()).augmented(_augmentation({"rand_augment": policy})).split("train")
    images = train.batch(range(200), 0).images
    assert images.isfinite().all()
    assert not torch.equal(images, train.batch(range(200), None).images)


@pytest.mark.parametrize("policy", ["augmix-m3", "rand-m9-q3"])
def test_a_policy_that_timm_refuses(policy: str) -> None:
    source = Digits(DigitsConfig())
    with pytest.raises(RecipeError, match=f'rand_augment = "{policy}": timm cannot read it'):
        source.augmented(_augmentation({"rand_augment": policy}))
