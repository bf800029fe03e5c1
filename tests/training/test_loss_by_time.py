from __future__ import annotations

import json

import pytest
import torch

from addkit.training.callbacks import LossByTime

CPU = torch.device("cpu")


def test_weighted_means_in_bins_and_pure_noise_apart() -> None:
    """Bins are [0, .1), ..., [.9, 1); t = 1 lies in none of them."""
    by_time = LossByTime(CPU)
    t = torch.tensor([0.0, 0.05, 0.55, 0.999999, 1.0, 1.0])
    losses = torch.tensor([1.0, 4.0, 5.0, 6.0, 7.0, 9.0])
    weights = torch.tensor([2.0, 1.0, 1.0, 3.0, 1.0, 1.0])
    by_time.add(t, losses, weights)
    told = by_time.take()
    assert told == {"0.0-0.1": 2.0, "0.5-0.6": 5.0, "0.9-1.0": 6.0, "T": 8.0}
    assert json.loads(json.dumps(told)) == told
    assert by_time.take() == {}


def test_steps_add_up_as_one_would() -> None:
    draw = torch.Generator().manual_seed(0)
    t, losses, weights = torch.rand(3, 600, generator=draw)
    apart, whole = LossByTime(CPU), LossByTime(CPU)
    for part in zip(t.split(70), losses.split(70), weights.split(70), strict=True):
        apart.add(*part)
    whole.add(t, losses, weights)
    assert apart.take() == pytest.approx(whole.take(), rel=1e-6)


def test_what_does_not_count_is_not_there() -> None:
    by_time = LossByTime(CPU)
    by_time.add(torch.tensor([0.2, 0.7]), torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    assert by_time.take() == {"0.7-0.8": 2.0}


def test_processes_can_add_theirs_up() -> None:
    one, other = LossByTime(CPU), LossByTime(CPU)
    for by_time, loss, weight in ((one, 1.0, 1.0), (other, 5.0, 3.0)):
        by_time.add(torch.tensor([0.3]), torch.tensor([loss]), torch.tensor([weight]))
    one.sums += other.sums
    assert one.take() == {"0.3-0.4": 4.0}


def test_adding_moves_nothing_from_the_device() -> None:
    """On the meta device every copy to the host raises."""
    meta = torch.device("meta")
    by_time = LossByTime(meta)
    by_time.add(*torch.rand(3, 10, device=meta))
    with pytest.raises((RuntimeError, NotImplementedError)):
        by_time.take()
