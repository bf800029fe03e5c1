from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.data.digits import Digits
from addkit.data.image_folder import ImageFolder
from addkit.data.loader import Loader, epoch_order, load
from addkit.data.settings import DigitsConfig, ImageFolderConfig
from addkit.errors import DataError, RunError
from addkit.plugin.values import Batch
from addkit.recipe.tables import Augmentation

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
def test_a_broken_file_gives_an_error_of_one_line(pets: Path, workers: int) -> None:
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


ORDERS = [[[3, 1, 4], [15, 9, 2], [6, 5]], [[8, 9, 7], [0, 1, 2]]]


@pytest.mark.parametrize("kind", ["digits", "files"])
def test_workers_that_stay_read_like_new_ones(pets: Path, kind: str) -> None:
    source = Digits(DigitsConfig()).augmented(AUGMENTATION) if kind == "digits" else _folder(pets)
    train = source.split("train")
    with Loader(train, 2, prefetch=1) as loader:
        for seed, order in enumerate(ORDERS):
            reference = load(train, order, seed, 0)
            for batch, wanted in zip(loader.batches(order, seed), reference, strict=True):
                assert torch.equal(batch.images, wanted.images)
                assert torch.equal(batch.labels, wanted.labels)
                assert batch.indices == wanted.indices
            workers = {child.pid for child in active_children()}
            assert len(workers) == 2
    assert not active_children()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_new_call_ends_the_one_before(pets: Path, workers: int) -> None:
    train = _folder(pets).split("train")
    with Loader(train, workers) as loader:
        first = loader.batches([[index] for index in range(10)], 0)
        assert next(first).indices == (0,)
        second = loader.batches([[5, 6], [7]], 1)
        assert [batch.indices for batch in second] == [(5, 6), (7,)]
        assert list(first) == []


def test_batches_that_outlive_many_others(pets: Path) -> None:
    train = _folder(pets).split("train")
    indices = [[index % 16] for index in range(30)]
    kept = list(load(train, indices, 0, 1))
    for batch, wanted in zip(kept, load(train, indices, 0, 0), strict=True):
        assert torch.equal(batch.images, wanted.images)


def test_batches_may_grow_and_be_none(pets: Path) -> None:
    train = _folder(pets).split("train")
    with Loader(train, 1) as loader:
        assert list(loader.batches([], 0)) == []
        grown = [batch.images for batch in loader.batches([[0], [1, 2, 3]], 0)]
        assert [len(images) for images in grown] == [1, 3]
        assert torch.equal(grown[1], train.batch([1, 2, 3], 0).images)


def test_a_broken_file_ends_one_epoch_only(pets: Path) -> None:
    train = _folder(pets).split("train")
    Path(train.source(2)).write_bytes(b"")
    with Loader(train, 2) as loader:
        with pytest.raises(DataError, match="empty file"):
            list(loader.batches([[0], [1], [2], [3], [4]], 0))
        assert [batch.indices for batch in loader.batches([[5], [6]], 0)] == [(5,), (6,)]


def test_another_thread_can_load(pets: Path) -> None:
    train = _folder(pets).split("train")
    batches: list[Batch] = []
    thread = Thread(target=lambda: batches.extend(load(train, [[0], [1]], 0, 1)))
    thread.start()
    thread.join()
    assert [batch.indices for batch in batches] == [(0,), (1,)]


class _Deadly:
    """Images of which one kills who reads it."""

    labels = torch.zeros(9, 1, dtype=torch.int64)

    def __len__(self) -> int:
        return 9

    def batch(self, indices: Sequence[int], seed: int | None) -> Batch:
        if 4 in indices:
            os.kill(os.getpid(), signal.SIGKILL)
        return Batch(torch.zeros(len(indices), 1, 2, 2), self.labels[list(indices)], tuple(indices))


def test_a_killed_worker_is_an_error() -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    with Loader(_Deadly(), 2) as loader:  # type: ignore[arg-type]
        batches = loader.batches([[4], [2], [3], [1]], 0)
        with pytest.raises(RunError, match=r"^a loader process died: .*worker \(pid") as caught:
            next(batches)
        assert signal.getsignal(signal.SIGCHLD) is handler
    assert "lower distributed.workers or distributed.prefetch" in str(caught.value)
    assert not active_children()


def test_another_error_stays_what_it_is(pets: Path) -> None:
    def broken() -> Iterator[list[int]]:
        raise RuntimeError("a bug")
        yield []

    with pytest.raises(RuntimeError, match="a bug"):
        next(load(_folder(pets).split("train"), broken(), 0, 1))


def test_shared_memory_that_is_too_small(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", full)
    with pytest.raises(RunError, match=r"^loader processes need 0 MiB of shared memory: unable"):
        next(load(_folder(pets).split("train"), [[0, 1]], 0, 1))


def test_without_a_gpu_nothing_is_pinned(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    batch = next(load(_folder(pets).split("train"), [[0, 1]], 0, 0, pin=True))
    assert not batch.images.is_pinned()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_gpu_gets_pinned_batches(
    pets: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    pinned = []

    def pin(self: Tensor) -> Tensor:
        pinned.append(self.dtype)
        return self

    train = _folder(pets).split("train")
    wanted = train.batch([0, 1], 0)
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Tensor, "pin_memory", pin)
    monkeypatch.setattr(
        torch, "empty", lambda *size, pin_memory=False, **rest: empty(*size, **rest)
    )
    batch = next(load(train, [[0, 1]], 0, workers, pin=True))
    assert torch.equal(batch.images, wanted.images)
    assert pinned == [torch.float32, torch.int64]


def test_a_batch_that_is_being_finished_is_not_overwritten(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _folder(pets).split("train")
    finished = type(images).finished

    def late(self: Any, *args: Any) -> Batch:
        # Meanwhile the worker writes all batches that it may.
        time.sleep(0.2)
        return finished(self, *args)

    batches = [[index] for index in range(4)]
    expected = [batch.images for batch in load(images, batches, 3, 0)]
    monkeypatch.setattr(type(images), "finished", late)
    got = [batch.images for batch in load(images, batches, 3, 1, prefetch=1)]
    assert all(map(torch.equal, got, expected))
