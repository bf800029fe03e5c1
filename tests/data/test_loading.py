from __future__ import annotations

from pathlib import Path

import pytest
import torch

from addkit.data import DigitsConfig, ImageFolderConfig
from addkit.data.digits import Digits
from addkit.data.image_folder import ImageFolder
from addkit.data.loading import epoch_order, load
from addkit.errors import DataError
from addkit.recipe.model import Augmentation

AUGMENTATION = Augmentation.model_validate(
    {"flip": 0.5, "shift": 1, "crop": (0.5, 1.0), "erase": 0.3, "rand_augment": "rand-m5"}
)


def test_an_order_is_a_permutation_of_its_own() -> None:
    first = epoch_order(0, 0, 1000)
    assert first.sort().values.tolist() == list(range(1000))
    assert torch.equal(first, epoch_order(0, 0, 1000))
    for other in (epoch_order(0, 1, 1000), epoch_order(1, 0, 1000), torch.arange(1000)):
        assert int((first == other).sum()) < 10


def _folder(root: Path) -> ImageFolder:
    settings = ImageFolderConfig.model_validate({"root": root, "image_size": 8})
    return ImageFolder(settings).augmented(AUGMENTATION)


@pytest.mark.parametrize("kind", ["digits", "files"])
def test_workers_do_not_change_a_bit(pets: Path, kind: str) -> None:
    source = Digits(DigitsConfig()).augmented(AUGMENTATION) if kind == "digits" else _folder(pets)
    train = source.split("train")
    order = epoch_order(0, 0, 16).tolist()
    index_batches = [order[start : start + 5] for start in (0, 5, 10)]
    state = torch.get_rng_state()
    runs = [list(load(train, iter(index_batches), 3, workers)) for workers in (0, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    for run in runs:
        assert [list(batch.indices) for batch in run] == index_batches
        for batch, reference in zip(run, runs[0], strict=True):
            assert torch.equal(batch.images, reference.images)
            assert torch.equal(batch.labels, reference.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_told_in_one_line(pets: Path, workers: int) -> None:
    train = _folder(pets).split("train")
    Path(train.source(2)).write_bytes(b"")
    batches = load(train, [[0, 1], [2, 3]], None, workers)
    assert next(batches).indices == (0, 1)
    with pytest.raises(DataError) as caught:
        next(batches)
    assert str(caught.value) == f"{train.source(2)}: empty file"


def test_a_loader_can_be_left_early(pets: Path) -> None:
    batches = load(_folder(pets).split("train"), [[0], [1], [2], [3]], 0, 2)
    assert next(batches).indices == (0,)
    del batches
