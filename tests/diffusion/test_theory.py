from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from addkit.diffusion import (
    bayes_denoiser,
    flip_probability,
    gibbs_accuracy,
    probability_arg_max,
    signal_to_noise,
)


def _wins(m: float, num_classes: int, rows: int) -> float:
    """Share of noisy labels whose arg max is the true class, by Monte Carlo."""
    generator = torch.Generator().manual_seed(num_classes)
    right = 0
    for _ in range(rows // 2000):
        noise = torch.randn(2000, num_classes, generator=generator)
        noise[:, 0] += m
        right += int((noise.argmax(1) == 0).sum())
    return right / rows


@pytest.mark.parametrize(("num_classes", "rows"), [(2, 100000), (10, 100000), (1000, 10000)])
@pytest.mark.parametrize("m", [0.3, 1.0, 2.5, 4.0])
def test_arg_max_probability_agrees_with_monte_carlo(num_classes: int, rows: int, m: float) -> None:
    expected = float(probability_arg_max(torch.tensor(m), num_classes))
    error = math.sqrt(expected * (1 - expected) / rows)
    assert abs(_wins(m, num_classes, rows) - expected) < 3 * error


def test_arg_max_probability_of_two_classes_is_closed() -> None:
    m = torch.linspace(0, 6, 61, dtype=torch.double)
    torch.testing.assert_close(
        probability_arg_max(m, 2), torch.special.ndtr(m / math.sqrt(2)), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("num_classes", [2, 10, 1000, 10112, 50257])
def test_arg_max_probability_without_signal_is_chance(num_classes: int) -> None:
    chance = probability_arg_max(torch.zeros(2, 3), num_classes)
    assert chance.shape == (2, 3)
    torch.testing.assert_close(chance, torch.full_like(chance, 1 / num_classes), atol=1e-9, rtol=0)


def test_arg_max_probability_rises_with_signal_and_falls_with_classes() -> None:
    m = torch.linspace(0, 8, 100)
    table = torch.stack([probability_arg_max(m, k) for k in (2, 10, 100, 1000)])
    assert (table.diff(dim=1) > 0).all()
    assert (table.diff(dim=0) < 0).all()
    assert float(table[-1, -1]) == pytest.approx(1.0, abs=1e-4)


def test_bayes_denoiser_is_bayes_rule_by_densities() -> None:
    generator = torch.Generator().manual_seed(1)
    alpha_bar, scale = torch.tensor([0.1, 0.5, 0.8], dtype=torch.double), 1.5
    prior = torch.rand(3, 7, generator=generator, dtype=torch.double).log_softmax(-1)
    y_t = torch.randn(3, 7, generator=generator, dtype=torch.double)
    means = scale * alpha_bar.sqrt()[:, None, None] * torch.eye(7, dtype=torch.double)
    deviation = (1 - alpha_bar).sqrt()[:, None, None]
    likelihood = Normal(means, deviation).log_prob(y_t.unsqueeze(1)).sum(-1)
    expected = (prior + likelihood).log_softmax(-1)
    torch.testing.assert_close(bayes_denoiser(prior, y_t, alpha_bar, scale), expected)


@pytest.mark.parametrize("log_odds", [-1.0, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("alpha_bar", [0.2, 0.6])
def test_flip_probability_agrees_with_monte_carlo(log_odds: float, alpha_bar: float) -> None:
    rows, level = 200000, torch.tensor(alpha_bar, dtype=torch.double)
    generator = torch.Generator().manual_seed(3)
    y_t = (1 - level).sqrt() * torch.randn(rows, 2, generator=generator, dtype=torch.double)
    y_t[:, 0] += level.sqrt()
    prior = torch.tensor([log_odds, 0.0], dtype=torch.double)
    flips = float((bayes_denoiser(prior, y_t, level, 1.0).argmax(-1) == 1).double().mean())
    odds = torch.tensor(log_odds, dtype=torch.double)
    expected = float(flip_probability(odds, signal_to_noise(level)))
    assert abs(flips - expected) < 3 * math.sqrt(expected * (1 - expected) / rows)


def test_flips_are_likeliest_where_the_signal_squared_is_the_log_odds() -> None:
    m = torch.linspace(0.2, 5, 2000, dtype=torch.double)
    for odds in (0.5, 2.0, 4.0):
        flips = flip_probability(torch.tensor(odds), m)
        assert float(m[flips.argmax()]) == pytest.approx(math.sqrt(odds), abs=0.01)
        worst = torch.special.ndtr(torch.tensor(-math.sqrt(2 * odds), dtype=torch.double))
        assert float(flips.max()) == pytest.approx(float(worst), rel=1e-5)


def test_gibbs_accuracy_is_the_mean_of_squares() -> None:
    posterior = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.9, 0.1]])
    assert float(gibbs_accuracy(posterior)) == pytest.approx((1 + 0.5 + 0.82) / 3)
