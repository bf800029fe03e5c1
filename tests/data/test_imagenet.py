from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.datasets import ImageNet as Reference

from addkit.data.imagenet import ImageNet
from addkit.data.images import prepare_image
from addkit.data.settings import DataWarning, ImageNetConfig
from addkit.errors import DataError

Paint = Callable[..., Path]
IDS = ("n01440764", "n02012849", "n03126707")


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    for key in IDS:
        for number in range(4):
            paint(tmp_path / "train" / key / f"{key}_{number}.JPEG", 40, 30)
        paint(tmp_path / "val" / key / f"ILSVRC2012_val_{key}.JPEG", 40, 30)
    return tmp_path


def _source(root: Path, **settings: object) -> ImageNet:
    return ImageNet(ImageNetConfig.model_validate({"root": root, "image_size": 28, **settings}))


def _write_meta(root: Path) -> None:
    names = {IDS[0]: ("tench", "Tinca tinca"), IDS[1]: ("crane",), IDS[2]: ("crane",)}
    torch.save((names, list(IDS)), root / "meta.bin")


def test_a_plan_needs_no_data(tmp_path: Path) -> None:
    facts = _source(tmp_path / "none", validation=0.01).facts
    assert facts.num_classes == 1000
    assert facts.class_names == ()
    assert facts.split_sizes == {"train": 1_268_355, "test": 50_000, "validation": 12_812}
    assert _source(tmp_path / "none").facts.split_sizes == {"train": 1_281_167, "test": 50_000}


def test_missing_data_is_explained_when_it_is_opened(tmp_path: Path) -> None:
    for name, folder in (("train", "train"), ("test", "val"), ("validation", "train")):
        with pytest.raises(DataError, match=rf"{folder} does not exist.*\n.*image-net.org"):
            _source(tmp_path, validation=0.1).split(name)


def test_folders_alone(root: Path) -> None:
    source = _source(root)
    assert source.facts.class_names == IDS
    assert source.facts.split_sizes == {"train": 12, "test": 3}
    batch = source.split("test").batch([1, 2], None)
    assert batch.images.shape == (2, 3, 28, 28)
    assert batch.labels.tolist() == [[1], [2]]


def test_names_of_torchvisions_meta_file(root: Path) -> None:
    _write_meta(root)
    source = _source(root)
    wanted = ("tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)")
    assert source.facts.class_names == wanted
    train = source.split("train")
    reference = Reference(root, split="train")
    pairs = [(train.source(i), int(train.labels[i])) for i in range(len(train))]
    assert pairs == reference.imgs


@pytest.mark.parametrize("name", ["meta.bin", "ILSVRC2012_devkit_t12.tar.gz"])
def test_unreadable_names_warn(root: Path, name: str) -> None:
    (root / name).write_bytes(b"broken")
    with pytest.warns(DataWarning, match="class names cannot be read"):
        assert _source(root).facts.class_names == IDS


def test_validation_images_alone_can_be_evaluated(root: Path) -> None:
    (root / "train").rename(root / "elsewhere")
    source = _source(root)
    assert source.facts.split_sizes == {"train": 1_281_167, "test": 3}
    assert len(source.split("test")) == 3
    with pytest.raises(DataError, match="train does not exist"):
        source.split("train")


def test_validation_is_held_out_of_train(root: Path) -> None:
    source = _source(root, validation=0.25)
    assert source.facts.split_sizes == {"train": 9, "test": 3, "validation": 3}
    splits = [source.split(name) for name in ("train", "validation")]
    assert len({split.source(i) for split in splits for i in range(len(split))}) == 12


def test_the_shorter_side_leaves_a_border(root: Path) -> None:
    inner, whole = _source(root), _source(root, resize=28)
    path = Path(inner.split("test").source(0))
    assert inner.pixels.shorter_side == 32
    assert not torch.equal(prepare_image(path, inner.facts), prepare_image(path, whole.facts))
