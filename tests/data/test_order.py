from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from addkit.data.loader import balanced_order, buffered_order, epoch_batches, epoch_order
from addkit.errors import DataError


class Images(SimpleNamespace):
    """As much of an `ImageSet` as an order needs."""

    def __len__(self) -> int:
        return self.count


def _sharded(sizes: list[int], seed: int = 0) -> Images:
    """Images whose numbers say nothing about where they lie."""
    rows = [(7 * number, 100 * place) for number, size in enumerate(sizes) for place in range(size)]
    mixed = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return Images(count=len(rows), shards=torch.tensor(rows)[mixed])


def _simulated(slots: list[int], count: int, buffer: int) -> list[int]:
    """A shuffle buffer as one would write it down."""
    held, stream, out = list(range(buffer)), iter(range(buffer, count)), []
    for slot in slots:
        out.append(held[slot])
        held[slot] = next(stream, -1)
    return out


@pytest.mark.parametrize("extra", [{}, {"shards": None}])
def test_files_have_todays_order(extra: dict[str, Any]) -> None:
    images = Images(count=53, **extra)
    batches = epoch_batches(images, 3, 2, steps=4, parts=3, size=4)
    assert batches.shape == (4, 3, 4)
    assert torch.equal(batches.flatten(), epoch_order(3, 2, 53)[:48])


def test_each_image_once_and_each_segment_to_one_part() -> None:
    images = _sharded([9, 11, 8, 12, 10, 14])
    batches = epoch_batches(images, 0, 0, steps=8, parts=2, size=4, buffer=5)
    assert batches.shape == (8, 2, 4)
    assert batches.dtype == torch.int64
    assert batches.unique().numel() == batches.numel() == 64
    shards = [set(images.shards[batches[:, part].flatten(), 0].tolist()) for part in (0, 1)]
    # Of six shards, only the one at the border may be read by both.
    assert len(shards[0] & shards[1]) <= 1
    whole = epoch_batches(_sharded([16] * 4), 0, 0, steps=8, parts=2, size=4, buffer=5)
    assert sorted(whole.flatten().tolist()) == list(range(64))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    images = _sharded([20] * 6)
    batches = [
        epoch_batches(images, seed, epoch, steps=10, parts=2, size=5, buffer=16)
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[3])
    # Fewer steps are the beginning of more.
    few = epoch_batches(images, 0, 0, steps=3, parts=2, size=5, buffer=16)
    assert torch.equal(few, batches[0][:3])


def test_shards_are_read_one_after_the_other() -> None:
    images = _sharded([50] * 8)
    batches = epoch_batches(images, 0, 0, steps=400, parts=1, size=1, buffer=1).flatten()
    places = images.shards[batches]
    assert torch.equal(places[:, 1].view(8, 50), torch.arange(50).mul(100).expand(8, 50))
    assert (places[:, 0].view(8, 50) == places[::50, :1]).all()
    assert places[::50, 0].tolist() != sorted(places[::50, 0].tolist())


@pytest.mark.parametrize(("count", "buffer"), [(1, 1), (40, 1), (40, 7), (40, 40), (5, 40)])
def test_a_buffer_gives_out_each_once_and_none_too_early(count: int, buffer: int) -> None:
    order = buffered_order(9, count, buffer)
    assert sorted(order.tolist()) == list(range(count))
    assert (order < torch.arange(count) + buffer).all()


def test_it_is_the_buffer_that_one_would_write_down() -> None:
    count, buffer = 300, 16
    order = buffered_order(4, count, buffer).tolist()
    # Which slot each came from follows from the order itself.
    slot_of, slots = {item: item for item in range(buffer)}, []
    for time, item in enumerate(order):
        slots.append(slot_of[item])
        slot_of[buffer + time] = slot_of[item]
    assert _simulated(slots, count, buffer) == order
    assert sorted(slots[-buffer:]) == list(range(buffer))


def test_slots_are_drawn_evenly() -> None:
    count, buffer = 40_000, 8
    order = buffered_order(1, count, buffer)
    waited = (order.argsort() - torch.arange(count) + buffer - 1)[buffer : count - 10 * buffer]
    # An element waits a geometric time: 1 / buffer goes out at the first chance.
    assert waited.min() == 0
    assert waited.double().mean() == pytest.approx(buffer - 1, rel=0.05)
    share: Tensor = (waited == 0).double().mean()
    assert share == pytest.approx(1 / buffer, rel=0.1)


def test_fewer_shards_than_parts() -> None:
    with pytest.raises(DataError) as error:
        epoch_batches(_sharded([40, 40, 40]), 0, 0, steps=2, parts=4, size=2)
    assert str(error.value) == (
        "the training images are in 3 shards, and a step has 4 micro-batches (processes x "
        "accumulation), each of which reads shards of its own.\nTake fewer --processes, or set "
        "distributed.per_process_batch higher."
    )


def test_balanced_epochs_take_each_class_equally_often() -> None:
    # 3, 20, 0 and 9 images of four classes.
    labels = torch.tensor([0] * 3 + [1] * 20 + [3] * 9)
    epochs = [balanced_order(labels, 5, epoch) for epoch in range(40)]
    for order in epochs:
        assert len(order) == 32
        # 32 draws of three classes: one of them is drawn 10 times, the others 11 times.
        drawn = torch.bincount(labels[order], minlength=4).tolist()
        assert sorted(drawn) == [0, 10, 11, 11]
        for k in (0, 1, 3):
            times = torch.bincount(order, minlength=32)[labels == k]
            assert times.max() - times.min() <= 1
    # Over epochs every image comes, and each class is once the one that is drawn 10 times.
    assert len(torch.cat(epochs).unique()) == 32
    rarest = torch.stack([torch.bincount(labels[order])[[0, 1, 3]].argmin() for order in epochs])
    assert len(rarest.unique()) == 3
    assert torch.equal(epochs[3], balanced_order(labels, 5, 3))
    assert not torch.equal(epochs[3], balanced_order(labels, 6, 3))


def test_balanced_batches_are_cut_from_the_balanced_order() -> None:
    images = Images(count=25, labels=torch.tensor([[0]] * 20 + [[1]] * 5))
    batches = epoch_batches(images, 3, 2, steps=2, parts=3, size=4, balanced=True)
    assert torch.equal(batches.flatten(), balanced_order(images.labels[:, 0], 3, 2)[:24])
    with pytest.raises(DataError, match="shards"):
        epoch_batches(_sharded([16] * 4), 0, 0, steps=8, parts=2, size=4, balanced=True)


def test_shards_come_in_an_order_of_their_epoch() -> None:
    images = _sharded([1] * 40)
    orders = []
    for epoch in range(3):
        batches = epoch_batches(images, 0, epoch, steps=40, parts=1, size=1, buffer=1)
        orders.append(images.shards[batches.flatten(), 0] // 7)
    # Not the order of images that another use of the seed draws, either.
    orders.append(epoch_order(0, 0, 40))
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_each_part_and_epoch_has_a_buffer_of_its_own() -> None:
    images = _sharded([32] * 2)
    seen = set()
    for epoch in range(2):
        batches = epoch_batches(images, 0, epoch, steps=32, parts=2, size=1, buffer=32)
        places = images.shards[batches.squeeze(2), 1] // 100  # (steps, parts)
        seen |= {tuple(place) for place in places.T.tolist()}
    # The buffer takes all images of a part, and gives them out in random order.
    assert len(seen | {tuple(range(32))}) == 5
