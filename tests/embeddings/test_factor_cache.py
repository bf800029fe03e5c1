from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from addkit.embeddings.linear import JITTER, FactorCache, cholesky


class Counted:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, weight: Tensor) -> tuple[Tensor, ...]:
        self.calls += 1
        return (2 * weight,)


@pytest.fixture
def module() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(3, 4, bias=False)


@pytest.fixture
def cache() -> FactorCache:
    return FactorCache(Counted())


def test_an_unchanged_weight_is_computed_once(cache, module) -> None:
    with torch.no_grad():
        first = cache(module.weight)
        assert cache(module.weight) is first
    with torch.inference_mode():
        assert cache(module.weight) is first
    assert cache.compute.calls == 1
    assert torch.equal(first[0], 2 * module.weight)


def _step(optimizer):
    """A training step. The fused AdamW changes a weight without counting up its version."""

    def change(module: nn.Module, cache: FactorCache) -> None:
        with torch.enable_grad():
            cache(module.weight)[0].square().sum().backward()
        optimizer(module.parameters(), lr=0.1).step()

    return change


CHANGES = {
    "sgd": _step(torch.optim.SGD),
    "adamw": _step(torch.optim.AdamW),
    "fused adamw": _step(lambda p, lr: torch.optim.AdamW(p, lr=lr, fused=True)),
    "load": lambda m, _: m.load_state_dict({"weight": torch.ones(4, 3)}),
    "load by assignment": lambda m, _: m.load_state_dict({"weight": torch.ones(4, 3)}, assign=True),
    "in place": lambda m, _: m.weight.lerp_(torch.ones(4, 3), 0.5),
    "other precision": lambda m, _: m.double(),
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_a_changed_weight_is_computed_again(cache, module, change: str) -> None:
    before = cache(module.weight)[0].clone()
    CHANGES[change](module, cache)
    after = cache(module.weight)[0]
    assert torch.equal(after, 2 * module.weight)
    assert after.dtype == module.weight.dtype
    assert change == "other precision" or not torch.equal(after, before)


def test_nothing_is_kept_where_gradients_flow(cache, module) -> None:
    for _ in range(2):
        (value,) = cache(module.weight)
        value.sum().backward()
    assert cache.compute.calls == 2
    assert cache.value == ()
    assert torch.equal(module.weight.grad, torch.full((4, 3), 4.0))


def test_the_cache_stores_no_graph(cache, module) -> None:
    with torch.no_grad():
        assert not cache(module.weight)[0].requires_grad
    frozen = module.weight.detach()
    assert cache(frozen) is cache(frozen)


@pytest.mark.parametrize("kind", ["linear", "posterior"])
@torch.no_grad()
def test_a_copy_of_an_embedding_draws_from_its_own_weight(make, kind: str) -> None:
    labels, alpha_bar = torch.zeros(5, 1, 1, dtype=torch.long), torch.full((1, 1, 1), 0.3)
    embedding = make(kind, 600, 8)

    def drawn(one: nn.Module) -> Tensor:
        return one.draw(labels, alpha_bar, torch.Generator().manual_seed(0))

    before = drawn(embedding)
    other = copy.deepcopy(embedding)
    other.weight.mul_(2)
    torch.testing.assert_close(drawn(other), 2 * before)
    torch.testing.assert_close(drawn(embedding), before)


def test_the_factor_squares_to_its_matrix() -> None:
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    gram = rows.T @ rows
    factor = cholesky(gram)
    assert factor.dtype == torch.float32
    torch.testing.assert_close(factor @ factor.T, gram, rtol=1e-4, atol=1e-3)
    assert torch.equal(factor, factor.tril())


def test_a_singular_matrix_has_a_factor() -> None:
    assert cholesky(torch.zeros(4, 4)).abs().max() < 1e-5
    ones = torch.ones(4, 4)
    factor = cholesky(ones)
    torch.testing.assert_close(factor @ factor.T, ones, atol=1e-5, rtol=0)


def test_a_factor_is_computed_in_double_precision() -> None:
    """Of a matrix of rank 3 single precision has the smallest pivots wrong in their first digit."""
    rows = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    gram = (rows.T @ rows).double()
    jitter = JITTER * gram.diagonal().mean() * torch.eye(24)
    expected = torch.linalg.cholesky(gram + jitter).float()
    torch.testing.assert_close(cholesky(gram.float()), expected, rtol=1e-5, atol=1e-7)
