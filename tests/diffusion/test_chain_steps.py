"""One step of each sampler against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion import ChainSettings, Clean
from addkit.samplers.blocks import sample
from addkit.samplers.renoise import Ddim, Kappa, Refine, Renoise
from addkit.sampling import Chain

from .networks import condition_of, network

CLASSES, CHAINS = 4, 40000
ALPHA = torch.tensor([0.6, 0.25, 0.0])
"""alpha_bar at t = 1/3, 2/3 and 1."""


class Feed:
    """A to-one operator that feeds back given labels, whatever was predicted."""

    def __init__(self, *labels: int | list[float]) -> None:
        self.labels = iter(labels)

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        label = next(self.labels)
        if isinstance(label, int):
            return Clean(torch.full(logits.shape[:-1], label))
        soft = torch.tensor(label).expand(logits.shape)
        return Clean(soft.argmax(-1), soft)


def _alpha(t: Tensor) -> Tensor:
    return ALPHA[(3 * t).round().long() - 1]


@pytest.fixture
def step(exact):
    """y_t, y_s and b y_0 of the step from t = 2/3 to s = 1/3; y_t grew from another label."""

    def run(sampler, scale: float = 1.0, label: int | list[float] = 2) -> tuple[Tensor, ...]:
        model = exact(CLASSES, _alpha, scale)
        settings = ChainSettings(steps=3, chains=CHAINS, keep_y_t=True)
        generator = torch.Generator().manual_seed(0)
        feed = Feed(1, label, label)
        steps = list(sample(model, torch.zeros(1, 1, CLASSES), sampler, feed, settings, generator))
        clean = torch.eye(CLASSES)[label] if isinstance(label, int) else torch.tensor(label)
        y_t, y_s = (x.y_t[0, :, 0].double() for x in steps[1:])
        return y_t, y_s, scale * clean.double()

    return run


def _same_moments(rows: Tensor, mean: Tensor, variance: float) -> None:
    """Rows (n, K) have this mean and independent entries of this variance, within 4.5 sigma."""
    error = math.sqrt(variance / len(rows))
    torch.testing.assert_close(rows.mean(0), mean, atol=4.5 * error, rtol=0)
    spread = 4.5 * variance * math.sqrt(2 / len(rows))
    expected = variance * torch.eye(CLASSES, dtype=torch.double)
    torch.testing.assert_close(rows.T.cov(), expected, atol=spread, rtol=0)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Of equal entries, (K,)."""
    first, second = first - first.mean(0), second - second.mean(0)
    return (first * second).mean(0) / (first.std(0) * second.std(0))


def _held_noise(y: Tensor, clean: Tensor, alpha_bar: Tensor) -> Tensor:
    return (y - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()


def test_the_chain_starts_from_pure_noise(exact) -> None:
    """Whatever the schedule leaves at t = 1."""
    model = exact(CLASSES, lambda t: torch.full_like(t, 0.5), 3.0)
    settings = ChainSettings(steps=1, chains=CHAINS, keep_y_t=True)
    generator = torch.Generator().manual_seed(0)
    (first,) = sample(model, torch.zeros(1, 1, CLASSES), Renoise(), Feed(0), settings, generator)
    _same_moments(first.y_t[0, :, 0].double(), torch.zeros(CLASSES, dtype=torch.double), 1.0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("label", [2, [0.1, 0.2, 0.3, 0.4]])
def test_renoise_forgets_the_old_noise(step, scale: float, label: int | list[float]) -> None:
    y_t, y_s, clean = step(Renoise(), scale, label)
    alpha_s = float(ALPHA[0])
    _same_moments(y_s, math.sqrt(alpha_s) * clean, 1 - alpha_s)
    assert _correlation(y_t, y_s).abs().max() < 4.5 / math.sqrt(CHAINS)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("sampler", [Kappa(1.0), Ddim(1.0)], ids=["kappa", "ddim"])
def test_ancestral_draws_from_the_true_posterior(step, sampler, scale: float) -> None:
    """Ho et al. 2020, equations 6 and 7, with alpha = alpha_bar_t / alpha_bar_s."""
    y_t, y_s, clean = step(sampler, scale)
    a_s, a_t = float(ALPHA[0]), float(ALPHA[1])
    alpha = a_t / a_s
    mean = math.sqrt(a_s) * (1 - alpha) / (1 - a_t) * clean
    mean = mean + math.sqrt(alpha) * (1 - a_s) / (1 - a_t) * y_t
    variance = (1 - a_s) / (1 - a_t) * (1 - alpha)
    left = y_s - mean
    _same_moments(left, torch.zeros(CLASSES, dtype=torch.double), variance)
    assert _correlation(y_t, left).abs().max() < 4.5 / math.sqrt(CHAINS)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_ddim_without_eta_keeps_the_noise_exactly(step, scale: float) -> None:
    y_t, y_s, clean = step(Ddim(0.0), scale)
    before, after = (_held_noise(y, clean, ALPHA[i]) for y, i in ((y_t, 1), (y_s, 0)))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "squared"),
    [(Kappa(0.5), 0.25), (Kappa(0.9), 0.81), (Ddim(0.5), None)],
    ids=["kappa .5", "kappa .9", "eta .5"],
)
def test_a_partial_sampler_carries_its_share(step, sampler, squared: float | None) -> None:
    y_t, y_s, clean = step(sampler)
    share = float(ALPHA[1] / (1 - ALPHA[1]) / (ALPHA[0] / (1 - ALPHA[0])))
    carried = math.sqrt(squared * share if squared else 1 - 0.25 * (1 - share))
    before, after = (_held_noise(y, clean, ALPHA[i]) for y, i in ((y_t, 1), (y_s, 0)))
    bound = 4.5 / math.sqrt(CHAINS)
    assert (_correlation(before, after) - carried).abs().max() < bound
    left = after - carried * before
    assert (left.var(0) - (1 - carried**2)).abs().max() < 2 * bound
    assert left.mean(0).abs().max() < bound


@pytest.mark.parametrize("sampler", [Renoise(), Kappa(1.0), Ddim(0.0), Ddim(0.5)])
def test_the_first_step_lands_on_the_forward_process(step, sampler) -> None:
    """All of the noise at t = 1 is fresh, so that each sampler's first y_t is a plain y_t."""
    y_t, _, _ = step(sampler)
    mean = torch.zeros(CLASSES, dtype=torch.double)
    mean[1] = math.sqrt(float(ALPHA[1]))
    _same_moments(y_t, mean, 1 - float(ALPHA[1]))


def test_a_start_at_zero_is_read_as_pure_noise() -> None:
    """By an embedding that reads its noise level: as a masked token, not as a clean one."""
    model = network(embedding="token").requires_grad_(False)
    settings = ChainSettings(steps=1, chains=2, start="zero")
    chain = Chain.of(model, condition_of(3), Feed(0), settings, torch.Generator())
    for sampler in (Renoise(), Refine()):
        start = sampler.start(chain)
        assert torch.equal(start.state.h, model.embedding.mask.expand(3, 2, 4, -1))
        assert start.t.unique().tolist() == [1]
