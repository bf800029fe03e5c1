from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion.exact import bayes_denoiser
from addkit.diffusion.noise import noised
from addkit.testing.exact_models import (
    denoised,
    given,
    is_allowed,
    marginals,
    most_probable,
)

TWINS = torch.tensor([[0, 0], [1, 1]])
FORK = torch.tensor([[0, 0], [1, 1], [1, 2]])


def fused(log_likelihoods: Tensor, combinations: Tensor, log_prior: Tensor | None = None) -> Tensor:
    """Log p(combination | x), (B, M), of log p(x_n | k), (B, N, K), and log p(combination)."""
    tokens = torch.arange(combinations.shape[1])
    scores = log_likelihoods.double()[:, tokens, combinations].sum(-1)
    return (scores if log_prior is None else scores + log_prior).log_softmax(-1)


def _everything(num_classes: int, num_tokens: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(num_classes), repeat=num_tokens)))


@pytest.fixture
def log_likelihoods() -> Tensor:
    """Five images, three tokens, four classes."""
    values = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    return values.log_softmax(-1)


def _noisy(clean: Tensor, alpha_bar: Tensor, chains: int, scale: float) -> Tensor:
    """Noisy labels of each image, (B, chains, N, 4)."""
    hot = torch.nn.functional.one_hot(clean, 4).double()[:, None].expand(-1, chains, -1, -1)
    noise = torch.randn(hot.shape, generator=torch.Generator().manual_seed(1)).double()
    return noised(hot, noise, alpha_bar, scale).y_t


def test_without_a_list_tokens_are_independent(log_likelihoods: Tensor) -> None:
    combinations = _everything(4, 3)
    log_joint = fused(log_likelihoods, combinations)
    assert torch.allclose(marginals(log_joint, combinations, 4), log_likelihoods)
    assert torch.equal(most_probable(log_joint, combinations), log_likelihoods.argmax(-1))
    levels = torch.tensor([0.1, 0.5, 0.9])
    y_t = _noisy(torch.zeros(5, 3, dtype=torch.int64), levels, 2, 1.5)
    alone = bayes_denoiser(log_likelihoods[:, None], y_t, levels.double(), 1.5)
    assert torch.allclose(denoised(log_joint, combinations, y_t, levels, 1.5), alone)


def test_twins_add_their_log_odds() -> None:
    """Two tokens that are always equal: p = sigmoid(sum of both log-odds and the prior's)."""
    odds = torch.tensor([[0.3, -1.2], [2.0, 0.5]]).double()
    likelihoods = torch.stack([torch.zeros_like(odds), odds], -1)
    prior = torch.tensor([0.25, 0.75]).double().log()
    log_joint = fused(likelihoods, TWINS, prior)
    wanted = (odds.sum(-1) + math.log(3)).sigmoid()
    assert torch.allclose(log_joint[:, 1].exp(), wanted)
    assert torch.allclose(
        marginals(log_joint, TWINS, 2)[..., 1].exp(), wanted[:, None].expand(2, 2)
    )


def test_the_best_guess_of_each_token_may_not_be_allowed() -> None:
    log_joint = torch.tensor([[0.4, 0.3, 0.3]]).double().log()
    shot = marginals(log_joint, FORK, 3).argmax(-1)
    assert shot.tolist() == [[1, 0]]
    assert is_allowed(shot, FORK).tolist() == [False]
    assert most_probable(log_joint, FORK).tolist() == [[0, 0]]
    assert is_allowed(FORK[None], FORK).tolist() == [[True, True, True]]


def test_the_denoiser_is_bayes_rule_over_gaussian_densities(log_likelihoods: Tensor) -> None:
    combinations = torch.tensor([[0, 1, 2], [3, 1, 0], [2, 2, 2], [0, 3, 3], [1, 1, 2]])
    log_joint = fused(log_likelihoods, combinations)
    levels, scale = torch.tensor([0.05, 0.4, 0.7]).double(), 2.0
    y_t = _noisy(combinations, levels, 3, scale)
    means = scale * levels.sqrt()[:, None] * torch.nn.functional.one_hot(combinations, 4)
    density = torch.distributions.Normal(means, (1 - levels).sqrt()[:, None])
    posterior = log_joint[:, None] + density.log_prob(y_t[:, :, None]).sum((-2, -1))
    wanted = torch.zeros(5, 3, 3, 4).double()
    for weight, row in zip(posterior.softmax(-1).unbind(-1), combinations.tolist(), strict=True):
        for token, label in enumerate(row):
            wanted[:, :, token, label] += weight
    assert torch.allclose(denoised(log_joint, combinations, y_t, levels, scale).exp(), wanted)


def test_both_ends_of_the_noise(log_likelihoods: Tensor) -> None:
    combinations = torch.tensor([[0, 1, 2], [0, 1, 3], [2, 2, 2], [0, 3, 3], [1, 1, 2]])
    log_joint = fused(log_likelihoods, combinations)
    clean = combinations[[0, 0, 0, 0, 0]]
    y_t = _noisy(clean, torch.zeros(1), 1, 1.0)
    blind = denoised(log_joint, combinations, y_t, torch.zeros(1))
    assert torch.allclose(blind[:, 0], marginals(log_joint, combinations, 4))
    known = torch.tensor([1.0, 0.0, 0.0])
    y_t = _noisy(clean, known, 1, 1.0)
    told = given(log_joint, combinations, torch.tensor([[0, -1, -1]]).expand(5, -1))
    wanted = marginals(told, combinations, 4)
    assert torch.allclose(denoised(log_joint, combinations, y_t, known)[:, 0], wanted)


def test_what_is_given_holds(log_likelihoods: Tensor) -> None:
    log_joint = fused(log_likelihoods[:, :2, :3], FORK)
    told = given(log_joint, FORK, torch.tensor([[1, -1]]).expand(5, -1))
    assert torch.all(told[:, 0].isneginf())
    odds = log_joint[:, 2] - log_joint[:, 1]
    assert torch.allclose(told[:, 2].exp(), odds.sigmoid())
    assert torch.equal(given(log_joint, FORK, torch.full((5, 2), -1)), log_joint.log_softmax(-1))
