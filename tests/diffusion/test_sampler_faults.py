"""Deliberate faults of the sampler, each seen by the exact denoiser's flip law or Gibbs value.

No network is trained here: `test_learns.py` has the faults of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import addkit.diffusion.model
import addkit.samplers.renoise
from addkit.diffusion import ChainSettings, Clean, alpha_bar_at, flip_probability, gibbs_accuracy
from addkit.plugin.values import Noised
from addkit.samplers.blocks import sample
from addkit.samplers.renoise import CarryNoise, Kappa, Renoise
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig
from addkit.to_one.softmax import Softmax

CLASSES, CHAINS = 20, 20000
BARS = {"flip law": 4.0, "gibbs value": 0.015}

Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Patch = Callable[[pytest.MonkeyPatch], None]


class Hold:
    """Feeds back class 0 always."""

    def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
        return Clean(torch.zeros(logits.shape[:-1], dtype=torch.long))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _flips(exact, log_odds: float, m: float) -> float:
    """How many standard errors one re-noising step is off the flip law; K = 2."""
    levels = torch.stack([alpha_bar_at(torch.tensor(m)), *torch.tensor([0.2, 0.0])])
    model = exact(2, lambda t: levels[(3 * t).round().long() - 1])
    condition = torch.tensor([log_odds, 0.0]).log_softmax(-1).view(1, 1, 2)
    settings = ChainSettings(steps=3, chains=CHAINS)
    *_, last = sample(model, condition, Renoise(), Hold(), settings, _generator(9))
    share = float((last.logits.argmax(-1) == 1).double().mean())
    odds, level = torch.tensor(log_odds).double(), torch.tensor(m).double()
    expected = float(flip_probability(odds, level))
    return abs(share - expected) / math.sqrt(expected * (1 - expected) / CHAINS)


def _off_gibbs(exact, problem) -> float:
    """How far ancestral sampling ends from E sum p^2, the accuracy of a draw from p(k | x)."""
    points, _ = problem.draw(3000, _generator(8))
    log_p = problem.log_posterior(points)
    model = exact(CLASSES, LabelAccuracySchedule(LabelAccuracyConfig(), CLASSES))
    settings, soft = ChainSettings(steps=100), Softmax(1.0)
    steps = sample(model, log_p.unsqueeze(1), Kappa(1.0), soft, settings, _generator(8))
    *_, last = steps
    reached = log_p.exp().gather(1, last.logits.argmax(-1)[:, 0]).mean()
    return abs(float(reached - gibbs_accuracy(log_p.exp())))


@pytest.fixture
def proof(exact, gaussian_classes) -> Callable[[], dict[str, float]]:
    problem = gaussian_classes(CLASSES, 16, 0.799)

    def measure() -> dict[str, float]:
        flips = [_flips(exact, log_odds, m) for log_odds in (0.0, 1.0) for m in (0.7, 1.5)]
        return {"flip law": max(flips), "gibbs value": _off_gibbs(exact, problem)}

    return measure


def _failures(numbers: dict[str, float]) -> list[str]:
    return [name for name, value in numbers.items() if not value <= BARS[name]]


def _noised_by(formula: Formula) -> Patch:
    """y_s by another formula of (clean, noise, abar, 1 - abar)."""

    def noised(clean: Tensor, noise: Tensor, alpha_bar: Tensor, scale: float) -> Noised:
        signal = alpha_bar.float().unsqueeze(-1)
        return Noised(formula(scale * clean, noise, signal, 1 - signal), noise)

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (addkit.diffusion.model, addkit.samplers.renoise):
            monkeypatch.setattr(module, "noised", noised)

    return patch


def _stepped_by(change: Callable[[Clean, Any], tuple[Clean, Any]]) -> Patch:
    """A step with another clean label or other times (t, s)."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for sampler in (Renoise, CarryNoise):
            monkeypatch.setattr(sampler, "step", _changed(sampler.step, change))

    return patch


def _changed(step: Any, change: Any) -> Any:
    def changed(sampler: Any, chain: Any, now: Any, logits: Tensor, clean: Clean, s: Tensor, done):
        clean, (_, s) = change(clean, (now.t, s))
        return step(sampler, chain, now, logits, clean, s, done)

    return changed


def _another_images(clean: Clean, times: Any) -> tuple[Clean, Any]:
    soft = None if clean.soft is None else clean.soft.roll(1, 0)
    return Clean(clean.ids.roll(1, 0), soft), times


FAULTS: dict[str, tuple[str, Patch]] = {
    "the noise of the old time": (
        "flip law",
        _stepped_by(lambda clean, times: (clean, (times[0], times[0]))),
    ),
    "noise without its root": ("flip law", _noised_by(lambda y, e, a, b: a.sqrt() * y + b * e)),
    "signal without its root": ("flip law", _noised_by(lambda y, e, a, b: a * y + b.sqrt() * e)),
    "signal and noise swapped": (
        "flip law",
        _noised_by(lambda y, e, a, b: b.sqrt() * y + a.sqrt() * e),
    ),
    "no noise": ("flip law", _noised_by(lambda y, e, a, b: a.sqrt() * y)),
    "another image's label": ("gibbs value", _stepped_by(_another_images)),
}


def test_the_chain_obeys_the_theory(proof) -> None:
    numbers = proof()
    assert _failures(numbers) == [], numbers


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_step_is_seen(proof, monkeypatch, fault: str) -> None:
    by, patch = FAULTS[fault]
    patch(monkeypatch)
    assert by in _failures(proof())
