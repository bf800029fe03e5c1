from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from addkit.errors import RunError
from addkit.model.predictor import fill


def _network() -> nn.Module:
    network, diffusion = nn.Module(), nn.Module()
    diffusion.null_token = nn.Parameter(torch.zeros(3))
    diffusion.length_head = nn.Linear(3, 2)
    network.diffusion = diffusion
    return network


def test_tensors_stored_under_an_earlier_name_are_loaded() -> None:
    network, other = _network(), _network()
    nn.init.normal_(other.diffusion.null_token)
    renamed = {"null_token": "null", "length_head": "lengths"}
    stored = {}
    for name, tensor in other.state_dict().items():
        for new, old in renamed.items():
            name = name.replace(new, old)
        stored[name] = tensor
    fill(network, stored, Path("ema.safetensors"))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_tensors_of_another_network_are_refused_in_one_line() -> None:
    with pytest.raises(RunError, match=r"ema\.safetensors: .*null_token") as error:
        fill(_network(), {"head": torch.zeros(1)}, Path("ema.safetensors"))
    assert "\n" not in str(error.value)
