from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from addkit.recipe.tables import Training
from addkit.training.optimizer import (
    WeightAverage,
    build_optimizer,
    pack_optimizer,
    unpack_optimizer,
)

TRAINING = Training(lr=1e-2, weight_decay=0.1, betas=(0.8, 0.9))


def _toy() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    network(inputs).square().sum().backward()
    optimizer.step()


def test_matrices_decay_and_nothing_else_does(lab: Any) -> None:
    network = lab.open(
        "run",
        "encoder.name=vit",
        "encoder.patch_size=4",
        "encoder.width=16",
        "encoder.depth=1",
        "encoder.heads=2",
        small=("denoiser.width=16",),
    ).network
    optimizer = build_optimizer(network, TRAINING)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decayed, kept = (
        [
            p
            for group in optimizer.param_groups
            if group["weight_decay"] == w
            for p in group["params"]
        ]
        for w in (0.1, 0.0)
    )
    assert all(p.ndim >= 2 for p in decayed)
    decayed, kept = ([names[id(p)] for p in each] for each in (decayed, kept))
    assert sorted([*decayed, *kept]) == sorted(names.values())
    assert all(name.endswith(("weight", "table", "rows", "embedding")) for name in decayed)
    assert {"encoder.model.cls_token", "encoder.model.pos_embed", "diffusion.null_token"} <= set(
        kept
    )
    assert not [name for name in decayed if "norm" in name or name.endswith("bias")]
    for name in ("encoder.model.patch_embed.proj.weight", "diffusion.output.weight"):
        assert name in decayed
    assert optimizer.defaults["betas"] == (0.8, 0.9)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_the_first_rate_is_the_plan_s(name: str) -> None:
    training = Training.model_validate({"epochs": 1, "lr": 1e-3, "optimizer": name})
    network = nn.Linear(2, 2)
    for peak, rate in ((0.25, 0.25), (None, 1e-3)):
        groups = build_optimizer(network, training, peak).param_groups
        assert {group["lr"] for group in groups} == {rate}


def test_frozen_parameters_are_left_out() -> None:
    network = _toy()
    network[0].requires_grad_(False)
    groups = build_optimizer(network, TRAINING).param_groups
    assert sum(len(group["params"]) for group in groups) == 4


def test_packed_state_goes_on_to_the_same_bits() -> None:
    network = _toy()
    optimizer = build_optimizer(network, TRAINING)
    for seed in range(3):
        _step(network, optimizer, seed)
    weights = {name: x.clone() for name, x in network.state_dict().items()}
    packed = {name: x.clone() for name, x in pack_optimizer(network, optimizer).items()}
    assert "0.weight|exp_avg" in packed
    assert len(packed) == 3 * len(list(network.parameters()))

    again = _toy()
    again.load_state_dict(weights)
    restored = build_optimizer(again, TRAINING)
    unpack_optimizer(again, restored, packed)
    for seed in range(3, 6):
        _step(network, optimizer, seed)
        _step(again, restored, seed)
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    both = pack_optimizer(network, optimizer), pack_optimizer(again, restored)
    assert all(torch.equal(value, both[1][name]) for name, value in both[0].items())


def test_unpacked_state_lies_in_memory_as_the_parameters_do() -> None:
    """Otherwise an optimizer of another order of summation goes on, to other bits."""
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2)).to(
        memory_format=torch.channels_last
    )
    optimizer = build_optimizer(network, TRAINING)
    network(torch.ones(1, 2, 4, 4)).sum().backward()
    optimizer.step()
    packed = pack_optimizer(network, optimizer)
    read = {name: x.contiguous() for name, x in packed.items()}
    again = build_optimizer(network, TRAINING)
    unpack_optimizer(network, again, read)
    weight = network[0].weight
    assert not weight.is_contiguous()
    assert again.state[weight]["exp_avg"].stride() == weight.stride()
    assert torch.equal(again.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg"])
    assert again.state[weight]["step"] == 1


def test_a_fresh_optimizer_packs_nothing() -> None:
    network = _toy()
    optimizer = build_optimizer(network, TRAINING)
    assert pack_optimizer(network, optimizer) == {}
    unpack_optimizer(network, optimizer, {})
    _step(network, optimizer, 0)


@pytest.mark.parametrize("decay", [0.0001, 0.5, 0.999])
def test_the_average_warms_up(decay: float) -> None:
    network = nn.Linear(1, 1, bias=False).double()
    average = WeightAverage(network, decay)
    weights = [1.0, 4.0, -2.0, 8.0, 0.5, 3.0]
    wanted = weights[0]
    for count, weight in enumerate(weights):
        nn.init.constant_(network.weight, weight)
        average.update_parameters(network)
        if count:
            warm = min(decay, (1 + count) / (10 + count))
            wanted = warm * wanted + (1 - warm) * weight
        assert average.module.weight.item() == pytest.approx(wanted)
    assert network.weight.item() == weights[-1]


def test_the_averages_buffers_follow_the_network() -> None:
    network = _toy()
    average = WeightAverage(network, 0.99)
    optimizer = build_optimizer(network, TRAINING)
    for seed in range(3):
        _step(network, optimizer, seed)
        average.update_parameters(network)
    assert torch.equal(average.module[1].running_mean, network[1].running_mean)
    assert int(average.module[1].num_batches_tracked) == 3
    assert not torch.equal(average.module[0].weight, network[0].weight)
