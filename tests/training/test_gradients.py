"""The global gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from addkit.training.optimizer import gradient_norm, scale_and_clip


@pytest.fixture
def parameters() -> list[nn.Parameter]:
    """Gradients 3 and 4, and one that has none."""
    made = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))]
    made[0].grad, made[1].grad = torch.tensor([0.0, 3.0]), torch.tensor([4.0])
    return made


def _gradients(parameters: list[nn.Parameter]) -> list[float]:
    return [x for p in parameters if p.grad is not None for x in p.grad.tolist()]


def test_the_norm_is_over_all_of_them(parameters: list[nn.Parameter]) -> None:
    assert float(gradient_norm(parameters)) == 5.0


@pytest.mark.parametrize(
    ("factor", "top", "wanted"),
    [
        (1.0, 0.0, [0.0, 3.0, 4.0]),
        (2.0, 0.0, [0.0, 6.0, 8.0]),
        (1.0, 1.0, [0.0, 0.6, 0.8]),
        (0.5, 1.0, [0.0, 0.6, 0.8]),
        (0.1, 1.0, [0.0, 0.3, 0.4]),
    ],
)
def test_first_multiplied_then_clipped(
    parameters: list[nn.Parameter], factor: float, top: float, wanted: list[float]
) -> None:
    scale_and_clip(parameters, gradient_norm(parameters), factor, top)
    assert _gradients(parameters) == pytest.approx(wanted, rel=1e-5)
    assert parameters[2].grad is None
