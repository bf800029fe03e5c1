"""Batch norm over micro-batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from addkit.distributed.batch_norm import RunningStatistics
from addkit.distributed.world import World


def _step(batches: list[torch.Tensor]) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(3)
    statistics = RunningStatistics(norm, World(), len(batches))
    statistics.begin()
    for number, batch in enumerate(batches):
        norm(batch)
        statistics.collect(last=number + 1 == len(batches))
        statistics.rewind()
    statistics.settle()
    return norm


def test_a_step_ends_with_the_mean_of_what_its_micro_batches_would_leave() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(8, 3) + shift for shift in range(4)]
    norm = _step(batches)
    alone = [_step([batch]) for batch in batches]
    for name in ("running_mean", "running_var"):
        wanted = torch.stack([getattr(one, name) for one in alone]).mean(0)
        torch.testing.assert_close(getattr(norm, name), wanted)
    assert int(norm.num_batches_tracked) == 1


def test_their_order_does_not_matter() -> None:
    torch.manual_seed(0)
    batches = [torch.randn(8, 3) + shift for shift in range(4)]
    one, other = _step(batches), _step(batches[::-1])
    torch.testing.assert_close(one.running_mean, other.running_mean)
    plain = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for batch, last in zip(batches, batches[::-1], strict=True):
        plain[0](batch)
        plain[1](last)
    assert not torch.allclose(plain[0].running_mean, plain[1].running_mean)


@pytest.mark.parametrize(
    "network",
    [nn.Linear(3, 3), nn.BatchNorm1d(3).eval(), nn.BatchNorm1d(3, track_running_stats=False)],
)
def test_where_there_is_nothing_to_keep(network: nn.Module) -> None:
    before = {name: x.clone() for name, x in network.state_dict().items()}
    statistics = RunningStatistics(network, World(), 2)
    statistics.begin()
    network(torch.randn(8, 3))
    statistics.collect(last=True)
    statistics.rewind()
    statistics.settle()
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())
