from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from addkit.diffusion import alpha_bar_at, corrupt, log_likelihood_scale, noised, signal_to_noise

LEVELS = [(0.0, 1.0), (0.3, 1.0), (0.9, 1.0), (0.5, 4.0), (1.0, 2.0)]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("alpha_bar", "scale"), LEVELS)
def test_corrupt_has_the_moments_of_the_forward_process(alpha_bar: float, scale: float) -> None:
    rows, num_classes = 40000, 5
    labels = torch.full((1, rows, 1), 2)
    level = torch.full((1, 1, 1), alpha_bar)
    y_t = corrupt(labels, level, num_classes, _generator(), scale).y_t[0, :, 0].double()
    mean = torch.zeros(num_classes, dtype=torch.double)
    mean[2] = scale * math.sqrt(alpha_bar)
    variance = 1 - alpha_bar
    error = math.sqrt(variance / rows)
    torch.testing.assert_close(y_t.mean(0), mean, atol=4 * error + 1e-6, rtol=0)
    covariance = torch.eye(num_classes, dtype=torch.double) * variance
    spread = 4 * variance * math.sqrt(2 / rows) + 1e-9
    torch.testing.assert_close(y_t.T.cov(), covariance, atol=spread, rtol=0)


def test_every_number_has_noise_of_its_own() -> None:
    labels = torch.zeros(2, 3, 4, dtype=torch.long)
    noise = corrupt(labels, torch.zeros(1, 1, 1), 5, _generator()).noise
    assert noise.shape == (2, 3, 4, 5)
    assert len(noise.unique()) == noise.numel()


def test_corrupt_hands_back_the_noise_that_it_used() -> None:
    labels = torch.tensor([[[0, 3], [1, 1]]])
    alpha_bar = torch.tensor([[[0.2, 0.7], [0.0, 1.0]]])
    noisy = corrupt(labels, alpha_bar, 4, _generator(), 1.5)
    clean = torch.zeros(1, 2, 2, 4).scatter(-1, labels.unsqueeze(-1), 1.0)
    torch.testing.assert_close(noisy.y_t, noised(clean, noisy.noise, alpha_bar, 1.5).y_t)
    torch.testing.assert_close(noisy.y_t[0, 1, 0], noisy.noise[0, 1, 0])
    torch.testing.assert_close(noisy.y_t[0, 1, 1], 1.5 * clean[0, 1, 1])


def test_corrupt_is_single_precision_and_decided_by_its_generator() -> None:
    labels, alpha_bar = torch.zeros(2, 3, 1, dtype=torch.long), torch.tensor([[[0.5]]])
    first = corrupt(labels, alpha_bar.double(), 7, _generator(4))
    assert first.y_t.dtype == torch.float32
    torch.testing.assert_close(first.y_t, corrupt(labels, alpha_bar, 7, _generator(4)).y_t)
    assert not torch.equal(first.y_t, corrupt(labels, alpha_bar, 7, _generator(5)).y_t)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_noise_level_and_signal_to_noise_are_inverse(scale: float) -> None:
    m = torch.logspace(-3, 1.5, 200, dtype=torch.double)
    torch.testing.assert_close(signal_to_noise(alpha_bar_at(m, scale), scale), m)
    alpha_bar = torch.linspace(0, 0.999, 200, dtype=torch.double)
    torch.testing.assert_close(alpha_bar_at(signal_to_noise(alpha_bar, scale), scale), alpha_bar)


def test_the_ends_of_the_noise_scale_are_finite() -> None:
    ends = torch.tensor([0.0, 1.0])
    assert signal_to_noise(ends, 2.0).tolist() == pytest.approx([0.0, 2000.0])
    assert log_likelihood_scale(ends, 2.0).tolist() == pytest.approx([0.0, 2e6])


@pytest.mark.parametrize(("alpha_bar", "scale"), [(0.05, 1.0), (0.5, 1.0), (0.9, 1.0), (0.4, 3.0)])
def test_evidence_times_state_is_the_exact_log_likelihood(alpha_bar: float, scale: float) -> None:
    num_classes, level = 6, torch.tensor(alpha_bar, dtype=torch.double)
    y_t = 2 * torch.randn(500, num_classes, generator=_generator(), dtype=torch.double)
    means = scale * level.sqrt() * torch.eye(num_classes, dtype=torch.double)
    density = Normal(means, (1 - level).sqrt()).log_prob(y_t.unsqueeze(1)).sum(-1)
    torch.testing.assert_close(
        (log_likelihood_scale(level, scale) * y_t).softmax(-1), density.softmax(-1)
    )
