from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from addkit.data.digits import Digits
from addkit.data.images import prepare_image
from addkit.data.settings import DigitsConfig
from addkit.errors import DataError

_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
_TEST_SPLIT = "2b0797d0cb72dd22df7201773af8f705d7ca4e8e074bde899eefc799ad4438f9"


def test_the_embedded_file_and_its_licence() -> None:
    (path,) = Digits(DigitsConfig()).facts.files
    assert hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256
    licence = path.with_name("DIGITS-LICENSE.txt").read_text()
    for words in ("CC BY 4.0", "E. Alpaydin and C. Kaynak, 1998", "10.24432/C50P49", _SHA256):
        assert words in licence


@pytest.mark.parametrize("validation", [0.0, 0.1])
def test_splits_are_disjoint_and_as_announced(validation: float) -> None:
    source = Digits(DigitsConfig(validation=validation))
    sizes = source.facts.split_sizes
    splits = {name: source.split(name) for name in sizes}
    assert {name: len(split) for name, split in splits.items()} == sizes
    assert sum(sizes.values()) == 1797
    names = {split.source(i) for split in splits.values() for i in range(len(split))}
    assert len(names) == 1797


def test_the_split_is_fixed() -> None:
    first, again = Digits(DigitsConfig()).split("test"), Digits(DigitsConfig()).split("test")
    other = Digits(DigitsConfig(split_seed=1)).split("test")
    sources = [[split.source(i) for i in range(539)] for split in (first, again, other)]
    assert sources[0] == sources[1] != sources[2]
    # Pinned: a change would make every published digits number another experiment.
    assert hashlib.sha256("\n".join(sources[0]).encode()).hexdigest() == _TEST_SPLIT


def test_values_labels_and_mean() -> None:
    train = Digits(DigitsConfig()).split("train")
    batch = train.batch(range(len(train)), None)
    assert batch.images.shape == (len(train), 1, 8, 8)
    assert batch.labels.shape == (len(train), 1)
    assert torch.equal(batch.labels, train.labels)
    assert set(batch.labels.flatten().tolist()) == set(range(10))
    assert abs(float(batch.images.mean())) < 0.02
    assert float(batch.images.std()) == pytest.approx(1, abs=0.02)
    assert float(batch.images.max()) == pytest.approx((1 - 0.3053) / 0.376)


def test_other_sizes() -> None:
    batch = Digits(DigitsConfig(image_size=16)).split("test").batch([3, 1], None)
    assert batch.images.shape == (2, 1, 16, 16)


def test_a_file_is_seen_as_the_test_split_is(tmp_path: Path) -> None:
    source = Digits(DigitsConfig())
    shown = source.split("test").batch([0], None).images[0]
    levels = ((shown[0] * 0.376 + 0.3053) * 255).round().numpy().astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "digit.png")
    prepared = prepare_image(tmp_path / "digit.png", source.facts)
    assert prepared.shape == (1, 8, 8)
    assert torch.allclose(prepared, shown, atol=0.01)


@pytest.mark.parametrize("size", [4, 16])
def test_a_resized_file_too(size: int, tmp_path: Path) -> None:
    source = Digits(DigitsConfig(image_size=size))
    split = source.split("test")
    split.picture(0).save(tmp_path / "digit.png")
    prepared = prepare_image(tmp_path / "digit.png", source.facts)
    assert torch.allclose(prepared, split.batch([0], None).images[0], atol=0.02)


def test_no_such_split() -> None:
    with pytest.raises(DataError, match=r'no split "validation"; there are: train, test\.'):
        Digits(DigitsConfig()).split("validation")
