"""The gradient of the fast door: its expectation is the plain door's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import addkit.embeddings.linear
import addkit.embeddings.posterior
from addkit.diffusion import alpha_bar_at, corrupt

CLASSES, WIDTH, LABEL = 600, 16, 3


def _gradient(embedding: nn.Module, door: str, m: float, rows: int) -> Tensor:
    """Of the mean of ||h||^2 over rows of one label, with respect to the weight."""
    generator = torch.Generator().manual_seed(4 if door == "draw" else 5)
    alpha_bar = alpha_bar_at(torch.full((1, 1, 1), m))
    embedding.weight.grad = None
    for _ in range(rows // 5000):
        labels = torch.full((5000, 1, 1), LABEL)
        if door == "draw":
            h = embedding.draw(labels, alpha_bar, generator)
        else:
            y_t = corrupt(labels, alpha_bar, CLASSES, generator).y_t
            h = embedding.read(y_t, alpha_bar)
        (h.square().sum() / rows).backward()
    assert embedding.weight.grad is not None
    return embedding.weight.grad


def _by_column(gradient: Tensor, weight: Tensor) -> Tensor:
    """Derivatives along the columns of the wrong classes' rows, (D,): K entries averaged."""
    wrong = torch.arange(CLASSES) != LABEL
    return (gradient * weight.detach())[wrong].sum(0)


def _relative(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm())


def _linear_error(make, door: str) -> float:
    """Against E||h||^2 = abar ||W_y||^2 + (1 - abar) ||W||^2, whose gradient is closed."""
    embedding, m = make("linear", CLASSES, WIDTH, unequal=True), 1.0
    alpha_bar = float(alpha_bar_at(torch.tensor(m)))
    weight = embedding.weight.detach()
    truth = 2 * (1 - alpha_bar) * weight
    truth[LABEL] += 2 * alpha_bar * weight[LABEL]
    return _relative(_gradient(embedding, door, m, 40000), truth)


def _posterior_error(make, m: float) -> float:
    """Rows around zero: then ||h||^2 at small m is the factor's doing."""
    embedding = make("posterior", CLASSES, WIDTH)
    with torch.no_grad():
        embedding.weight -= embedding.weight.mean(0)
    fast, plain = (
        _by_column(_gradient(embedding, door, m, 40000), embedding.weight)
        for door in ("draw", "read")
    )
    return _relative(fast, plain)


def _detached(monkeypatch, module) -> None:
    factor = module.cholesky
    monkeypatch.setattr(module, "cholesky", lambda gram: factor(gram).detach())


# One entry of the linear door's estimate has a relative error of about sqrt(K / rows) = .12 by the
# plain door and sqrt(D / rows) = .02 by the fast one. Without the factor's gradient it is about 1.
@pytest.mark.parametrize(("door", "bound"), [("read", 0.25), ("draw", 0.1)])
def test_linear_gradient_is_the_closed_one(make, door: str, bound: float) -> None:
    assert _linear_error(make, door) < bound


def test_linear_gradient_needs_the_factors(make, monkeypatch) -> None:
    _detached(monkeypatch, addkit.embeddings.linear)
    assert _linear_error(make, "draw") > 0.5


# Healthy: about 1 %, the error of the Monte Carlo. Without the gradient: 34 % and more.
@pytest.mark.parametrize("m", [0.5, 1.0])
def test_posterior_gradient_is_the_plain_doors(make, m: float) -> None:
    assert _posterior_error(make, m) < 0.05


@pytest.mark.parametrize("m", [0.5, 1.0])
def test_posterior_gradient_needs_the_factors(make, monkeypatch, m: float) -> None:
    _detached(monkeypatch, addkit.embeddings.posterior)
    assert _posterior_error(make, m) > 0.2


@pytest.mark.parametrize("num_classes", [20, 600])
@pytest.mark.parametrize("kind", ["linear", "posterior"])
@pytest.mark.parametrize("alpha_bar", [0.0, 1e-6, 0.5, 0.999999, 1.0])
def test_gradients_are_finite_at_every_noise_level(
    make, kind: str, num_classes: int, alpha_bar: float
) -> None:
    embedding = make(kind, num_classes, 8)
    labels = torch.zeros(50, 2, 1, dtype=torch.long)
    h = embedding.draw(labels, torch.full((1, 1, 1), alpha_bar), torch.Generator().manual_seed(0))
    h.square().sum().backward()
    assert h.isfinite().all()
    assert embedding.weight.grad.isfinite().all()
    assert embedding.weight.grad.any()


@pytest.mark.parametrize("kind", ["linear", "posterior"])
def test_a_rank_deficient_weight_can_be_drawn_and_trained(make, kind: str) -> None:
    embedding = make(kind, 600, 8)
    with torch.no_grad():
        embedding.weight[:, 4:] = 0
    labels, alpha_bar = torch.zeros(50, 2, 1, dtype=torch.long), torch.full((1, 1, 1), 0.5)
    h = embedding.draw(labels, alpha_bar, torch.Generator().manual_seed(0))
    h.square().sum().backward()
    assert h[..., 4:].abs().max() < 1e-2 * h[..., :4].abs().max()
    assert embedding.weight.grad.isfinite().all()
