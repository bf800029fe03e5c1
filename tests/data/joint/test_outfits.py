from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from addkit.data.images import prepare_image
from addkit.data.outfits import Outfits, allowed_combinations
from addkit.data.settings import OutfitsConfig
from addkit.errors import DataError, RecipeError
from addkit.plugin.protocols import ImageSet
from addkit.recipe.tables import Augmentation

SPLITS = ("train", "validation", "test")


def _source(root: Path, **settings: object) -> Outfits:
    small = {"train_size": 128, "test_size": 96, "validation_size": 64}
    return Outfits(OutfitsConfig.model_validate({"root": root, **small, **settings}))


@pytest.fixture(scope="module")
def clean(clothes: Path) -> Outfits:
    """Without noise, so that a piece's grey level determines its class."""
    return _source(clothes, noise=0.0)


def _levels(images: Tensor) -> Tensor:
    """Pixels of Fashion-MNIST, 0 to 255, of each of the four pieces (B, 4) of clean outfits."""
    pieces = images.view(-1, 2, 7, 2, 7).transpose(2, 3).reshape(-1, 4, 49)
    assert torch.equal(pieces.amin(-1), pieces.amax(-1))
    return 255 * (0.286 + 0.353 * pieces[..., 0])


def test_facts_need_no_files(tmp_path: Path) -> None:
    facts = Outfits(OutfitsConfig(root=tmp_path / "nowhere")).facts
    assert facts.split_sizes == {"train": 19_200, "test": 2000, "validation": 2000}
    assert (facts.num_tokens, facts.num_classes) == (4, 10)
    assert facts.token_classes == ((0, 10),) * 4
    assert facts.token_names == ("top left", "top right", "bottom left", "bottom right")
    assert facts.class_names[9] == "Ankle boot"
    assert (facts.image_size, facts.image_channels, facts.shorter_side) == (14, 1, 14)
    assert len(facts.files) == 4


def test_combinations_follow_from_the_seed() -> None:
    chosen = allowed_combinations(64, 10, seed=0)
    assert chosen.shape == (64, 4)
    assert len(chosen.unique(dim=0)) == 64
    assert torch.equal(chosen, allowed_combinations(64, 10, seed=0))
    assert not torch.equal(chosen, allowed_combinations(64, 10, seed=1))
    more = {tuple(row) for row in allowed_combinations(400, 10, seed=0).tolist()}
    assert {tuple(row) for row in chosen.tolist()} < more
    assert len(allowed_combinations(81, 3, seed=0).unique(dim=0)) == 81
    # Pinned: a change would make every published number another problem's.
    assert chosen[:3].tolist() == [[0, 0, 9, 0], [0, 4, 7, 5], [0, 6, 2, 2]]


@pytest.mark.parametrize("name", SPLITS)
def test_combinations_are_equally_frequent(clean: Outfits, name: str) -> None:
    labels = clean.split(name).labels
    assert labels.shape == (clean.facts.split_sizes[name], 4)
    seen, counts = labels.unique(dim=0, return_counts=True)
    assert torch.equal(seen, clean.combinations)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("seed", [None, 5])
def test_pieces_show_their_labels_in_reading_order(clean: Outfits, seed: int | None) -> None:
    batch = clean.split("train").batch(range(128), seed)
    assert batch.images.shape == (128, 1, 14, 14)
    # Eight bits of a narrower range: a level is known to about one.
    assert torch.equal(((_levels(batch.images) + 2) / 20).floor().long(), batch.labels)
    assert torch.equal(batch.labels, clean.split("train").labels[list(batch.indices)])


def test_splits_share_no_image(tmp_path: Path, clothes: Path) -> None:
    """Each training image of class 0 is made to have its own level."""
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes((clothes / name).read_bytes())
    content = bytearray((clothes / "train-images-idx3-ubyte").read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(400, 28, 28)
    pixels[::10] = np.arange(0, 240, 6)[:, None, None]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    source = _source(tmp_path, noise=0.0, validation=0.2, combinations=10_000, train_size=10_000)
    seen = {}
    for name in ("train", "validation"):
        images = source.split(name)
        batches = [images.batch(range(len(images)), seed) for seed in range(8)]
        levels = torch.cat([_levels(b.images)[b.labels == 0] for b in batches])
        seen[name] = set((levels / 6).round().long().tolist())
    assert len(seen["train"]) == 32
    assert seen["validation"] <= set(range(40)) - seen["train"]


def _batches(images: ImageSet, seed: int | None) -> list[Tensor]:
    return [images.batch(at, seed).images for at in ([3, 50, 7], [7, 3], [50])]


@pytest.mark.parametrize("seed", [None, 0, 2**70])
def test_an_outfit_depends_on_seed_and_index_alone(clothes: Path, seed: int | None) -> None:
    train = _source(clothes).split("train")
    all_three, two, one = _batches(train, seed)
    assert torch.equal(all_three, torch.cat([two[1:], one, two[:1]]))
    assert torch.equal(all_three, _batches(_source(clothes).split("train"), seed)[0])


def test_seeds_and_splits_differ(clothes: Path) -> None:
    source = _source(clothes)
    train = source.split("train")
    images = [train.batch([0, 1], seed).images for seed in (None, 0, 1)]
    images += [source.split(name).batch([0, 1], None).images for name in SPLITS[1:]]
    images += [_source(clothes, split_seed=1).split("train").batch([0, 1], None).images]
    for place, one in enumerate(images):
        assert not any(torch.equal(one, other) for other in images[:place])


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noise_has_the_deviation_asked_for(clothes: Path, noise: float) -> None:
    """Inputs are z / sqrt(1 + noise^2), z = clean + noise eps; pieces are constant here."""
    batch = _source(clothes, noise=noise, train_size=4096).split("train").batch(range(4096), 1)
    pieces = batch.images.view(-1, 2, 7, 2, 7).transpose(2, 3).reshape(-1, 49).double()
    variance = pieces.var(-1).mean() * (1 + noise**2)
    # 800,000 normals: a standard deviation of .0016 of the variance, and rounding's 1e-3 / 3.
    assert float(variance) == pytest.approx(noise**2, rel=0.01)
    centred = (pieces - pieces.mean(-1, keepdim=True)) / pieces.std(-1, keepdim=True)
    # The kurtosis of 49 normals about their own mean, by their own unbiased deviation.
    assert float(centred.pow(4).mean()) == pytest.approx(3 * 48 / 50 * (48 / 49) ** 2, rel=0.01)
    means = pieces.mean(-1) * math.sqrt(1 + noise**2)
    wanted = (20 * batch.labels.flatten() + 4.5) / 255
    assert float((means - (wanted - 0.286) / 0.353).mean()) == pytest.approx(0, abs=0.02)


def test_a_saved_picture_is_the_same_input(clothes: Path, tmp_path: Path) -> None:
    source = _source(clothes)
    test = source.split("test")
    test.picture(17).save(tmp_path / "outfit.png")
    shown = prepare_image(tmp_path / "outfit.png", source.facts)
    assert torch.equal(shown, test.batch([17], None).images[0])
    assert test.source(17) == "outfits test, image 17"


def test_other_sizes(clothes: Path) -> None:
    batch = _source(clothes, image_size=28).split("test").batch([1, 0], None)
    assert batch.images.shape == (2, 1, 28, 28)
    assert batch.indices == (1, 0)


def test_no_validation_without_a_share(clothes: Path) -> None:
    source = _source(clothes, validation=0.0)
    assert source.facts.split_sizes == {"train": 128, "test": 96}
    with pytest.raises(DataError, match=r'no split "validation"; .* data\.validation above 0'):
        source.split("validation")


def test_augmentation_is_refused(clothes: Path) -> None:
    source = _source(clothes)
    assert source.augmented(Augmentation.model_validate({})) is source
    with pytest.raises(RecipeError, match=r"augmentation\.flip: outfits takes no augmentation"):
        source.augmented(Augmentation.model_validate({"flip": 0.5}))


def test_a_class_without_images(tmp_path: Path, clothes: Path) -> None:
    for path in clothes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes().replace(b"\x03", b"\x04"))
    with pytest.raises(DataError, match="outfits need images of each class; no Dress here"):
        _source(tmp_path).split("test")


@pytest.mark.parametrize(
    ("key", "value"), [("combinations", 1), ("combinations", 10_001), ("noise", -1.0)]
)
def test_settings_out_of_range(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        OutfitsConfig.model_validate({key: value})
