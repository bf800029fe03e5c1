"""A component that gives another shape than it must is named, wherever it would be broadcast."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from addkit.diffusion import LabelDiffusion, ObjectiveSettings, Targets, objective
from addkit.diffusion.model import shaped
from addkit.errors import PluginError
from addkit.model import Network

Exact = Any


def test_a_right_shape_passes() -> None:
    tensor = torch.zeros(2, 3, 4)
    assert shaped(tensor, (2, "C", 4), "conditioner", "a condition") is tensor


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (torch.zeros(2, 4), "of shape (2, 4), not (2, C, 4)"),
        (torch.zeros(2, 3, 5), "of shape (2, 3, 5), not (2, C, 4)"),
        ((torch.zeros(2, 3, 4),), "of type tuple, not (2, C, 4)"),
        (None, "of type NoneType, not (2, C, 4)"),
    ],
)
def test_a_wrong_one_is_told(given: Any, told: str) -> None:
    with pytest.raises(PluginError, match=re.escape(f"the conditioner gave a condition {told}")):
        shaped(given, (2, "C", 4), "conditioner", "a condition")


class Changed:
    """A component of which one method's results are changed."""

    def __init__(self, inner: Any, name: str, change: Any) -> None:
        self._inner, self._name, self._change = inner, name, change

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return (lambda *words: self._change(found(*words))) if name == self._name else found

    def __call__(self, *words: Any) -> Any:
        given = self._inner(*words)
        return self._change(given) if self._name == "__call__" else given


def _first(tensor: Tensor) -> Tensor:
    return tensor[..., :1]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(1)


@pytest.mark.parametrize("maker", ["", '"flat" of flat 0.3'])
def test_a_third_party_s_fault_can_be_checked_alone(maker: str) -> None:
    with pytest.raises(PluginError) as caught:
        shaped(torch.zeros(2, 4), (2, "C", 4), "conditioner", "a condition", maker)
    assert caught.value.checkable == bool(maker)


@pytest.mark.parametrize(
    ("kind", "method", "change", "told"),
    [
        ("conditioner", "__call__", _flat, "a condition of shape (4, 3), not (4, 1, 3)"),
        ("embedding", "read", _flat, "a state of shape (4, 0), not (4, 2, 1, D)"),
        ("denoiser", "__call__", _flat, "features of shape (4, 3), not (B, R, 1, 3)"),
        ("denoiser", "__call__", _first, "features of shape (4, 1, 1, 1), not (B, R, 1, 3)"),
        ("loss", "__call__", torch.mean, "losses of shape (), not (4, 2, 1)"),
        ("loss", "logits", _first, "logits of shape (4, 2, 1, 1), not (4, 2, 1, 3)"),
    ],
)
def test_a_training_step_names_the_component(
    exact: Exact, kind: str, method: str, change: Any, told: str
) -> None:
    model: LabelDiffusion = exact(3, lambda t: 1 - t)
    inner = getattr(model, kind)
    model._modules.pop(kind, None)
    model.__dict__[kind] = Changed(inner, method, change)
    targets = Targets(torch.zeros(4, 2, 1, dtype=torch.long))
    with pytest.raises(PluginError, match=re.escape(f"the {kind} gave {told}") + "$"):
        objective(model, torch.zeros(4, 1, 3), targets, ObjectiveSettings(), torch.Generator())


def test_a_schedule_is_tried_when_the_network_is_built(exact: Exact) -> None:
    with pytest.raises(PluginError, match=re.escape("the schedule gave alpha_bar of shape ()")):
        exact(3, lambda t: (1 - t).mean())


def test_an_encoder(exact: Exact) -> None:
    encoder = nn.Flatten()
    encoder.width = 8
    network = Network(encoder, exact(3, lambda t: 1 - t), frozen=False)
    with pytest.raises(PluginError, match=re.escape("tokens of shape (2, 64), not (2, L, 8)")):
        network.tokens(torch.zeros(2, 1, 8, 8))
