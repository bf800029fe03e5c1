"""Proof that label diffusion learns, and that faults of its forward process would show.

The problem: 20 unit class means in 16 dimensions with noise such that the best answer is right
79.9 % of the time. The condition is the point itself, so p(k | x) and with it the exact denoiser
are known. End accuracy is a bad test (a head that never saw a real y_t can score higher than a
right one), so the distance to the exact posterior is measured at several noise levels.

A fault is trained exactly as long as the healthy head: a shorter training would fail by itself.
Faults of the samplers are in `test_sampler_faults.py`, those of the fast draws in
`tests/embeddings/test_draw_faults.py`; neither needs training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import addkit.diffusion.model
from addkit.denoisers.mlp import MlpDenoiser
from addkit.denoisers.settings import MlpConfig
from addkit.diffusion import (
    ChainSettings,
    LabelDiffusion,
    ObjectiveSettings,
    Targets,
    log_likelihood_scale,
    objective,
    probability_arg_max,
)
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.values import Noised
from addkit.processes.gaussian import GaussianProcess
from addkit.samplers.blocks import sample
from addkit.samplers.renoise import Renoise
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig
from addkit.to_one.operators import ArgMax

CLASSES, WIDTH, STEPS, BATCH, REUSE = 20, 64, 300, 128, 4
SETTINGS = ObjectiveSettings(stratified=True, condition_drop=0.1)

Numbers = dict[str, float]

BARS: dict[bool, dict[str, tuple[float, float]]] = {
    True: {
        "t = T": (0.779, 0.80),
        "shuffled condition": (0, 0.08),
        "loop": (0, 0.03),
        "KL 0": (0, 0.07),
        "KL 1": (0, 0.06),
        "KL 2": (0, 0.04),
        "KL 3": (0, 0.02),
    },
    # Without the Bayes skip the embedding must carry the label, which 300 steps learn less well.
    False: {
        "t = T": (0.74, 0.80),
        "shuffled condition": (0, 0.08),
        "loop": (0, 0.03),
        "KL 0": (0, 0.2),
        "KL 1": (0, 0.1),
        "KL 2": (0, 0.14),
        "KL 3": (0, 0.09),
    },
}
"""By whether the head has the Bayes skip. Seeds move these numbers by a tenth of themselves."""


def failures(numbers: Numbers, *, skip: bool = True) -> list[str]:
    """The measured numbers that lie outside their bars."""
    return [
        f"{name}: {numbers[name]:.4f} is not in [{low}, {high}]"
        for name, (low, high) in BARS[skip].items()
        if not low <= numbers[name] <= high
    ]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Bench:
    """The problem, and what is measured on it."""

    problem: Any
    schedule: LabelAccuracySchedule

    def proof(self, kind: str = "posterior", *, skip: bool = True) -> Numbers:
        """Train a head and measure it."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = self.new(kind, skip)
        self.train(model)
        points, labels = self.problem.draw(4000, _generator(7))
        condition, log_p = points.unsqueeze(1), self.problem.log_posterior(points)
        loop, oracle = _accuracy(model, condition, log_p, 10), self.oracle_loop(log_p, 10)
        return {
            "t = T": _accuracy(model, condition, log_p, 1),
            "shuffled condition": _accuracy(model, condition.roll(1, 0), log_p, 1),
            "loop": abs(loop - oracle),
            **{f"KL {m}": _distance(model, condition, log_p, labels, m) for m in range(4)},
        }

    def new(self, kind: str, skip: bool) -> LabelDiffusion:
        conditioner = nn.Identity()
        conditioner.width = self.problem.means.shape[1]
        embeddings = {
            "linear": lambda: LinearEmbedding(CLASSES, WIDTH, 1.0),
            "posterior": lambda: PosteriorEmbedding(CLASSES, WIDTH, 1.0, spread=0.5, largest=16),
        }
        config = MlpConfig(width=WIDTH, depth=2, bayes_skip=skip)
        return LabelDiffusion(
            conditioner=conditioner,
            embedding=embeddings[kind](),
            denoiser=MlpDenoiser(config, conditioner.width),
            schedule=self.schedule,
            process=GaussianProcess(),
            loss=CrossEntropy(0.0),
            num_classes=CLASSES,
        )

    def train(self, model: LabelDiffusion) -> None:
        """300 steps of 128 fresh points, four noisy copies each; ends with averaged weights."""
        weights = list(model.parameters())
        optimizer = torch.optim.AdamW(weights, lr=3e-3, fused=True)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
        average, generator = [weight.detach().clone() for weight in weights], _generator(100)
        for step in range(STEPS):
            points, labels = self.problem.draw(BATCH, generator)
            copies = labels.view(-1, 1, 1).expand(-1, REUSE, 1)
            value = objective(model, points.unsqueeze(1), Targets(copies), SETTINGS, generator)
            optimizer.zero_grad()
            value.loss.backward()
            optimizer.step()
            rates.step()
            with torch.no_grad():
                kept = min(0.99, (1 + step) / (10 + step))
                torch._foreach_lerp_(average, weights, 1 - kept)
        model.requires_grad_(False)
        torch._foreach_copy_(weights, average)

    def oracle_loop(self, log_p: Tensor, steps: int) -> float:
        """E p(answer | x) of the exact denoiser's re-noising loop, written out: no chain is run."""
        generator, answer = _generator(13), log_p.argmax(-1)
        for step in range(1, steps):
            alpha_bar = self.schedule.alpha_bar(torch.tensor(1 - step / steps))
            noise = torch.randn(log_p.shape, generator=generator)
            y_t = alpha_bar.sqrt() * torch.eye(CLASSES)[answer] + (1 - alpha_bar).sqrt() * noise
            answer = (log_p + alpha_bar.sqrt() / (1 - alpha_bar) * y_t).argmax(-1)
        return float(log_p.exp().gather(1, answer.unsqueeze(1)).mean())


def _accuracy(model: LabelDiffusion, condition: Tensor, log_p: Tensor, steps: int) -> float:
    """E p(answer | x) of the last of some re-noising steps."""
    settings = ChainSettings(steps=steps)
    run = sample(model, condition, Renoise(), ArgMax(), settings, _generator(8))
    *_, last = run
    return float(log_p.exp().gather(1, last.logits.argmax(-1)[:, 0]).mean())


def _distance(
    model: LabelDiffusion, condition: Tensor, log_p: Tensor, labels: Tensor, level: int
) -> float:
    """KL(exact posterior || head) given the true noisy label at m; no noise is drawn by addkit."""
    m = torch.tensor(float(level))
    alpha_bar = m**2 / (1 + m**2)
    noise = torch.randn(len(labels), CLASSES, generator=_generator(20 + level))
    y_t = alpha_bar.sqrt() * torch.eye(CLASSES)[labels] + (1 - alpha_bar).sqrt() * noise
    exact = (log_p + alpha_bar.sqrt() / (1 - alpha_bar) * y_t).log_softmax(-1)
    right = float(probability_arg_max(m, CLASSES))
    t = torch.full((1, 1, 1), (1 - right) / (1 - 1 / CLASSES))
    state = model.read(y_t[:, None, None], alpha_bar.view(1, 1, 1))
    head = model(state, t, model.prepare(condition))[:, 0, 0].log_softmax(-1)
    return float((exact.exp() * (exact - head)).sum(-1).mean())


@pytest.fixture(scope="module")
def bench(gaussian_classes) -> Bench:
    problem = gaussian_classes(CLASSES, 16, 0.799)
    assert problem.best() == pytest.approx(0.799, abs=0.001)
    return Bench(problem, LabelAccuracySchedule(LabelAccuracyConfig(), CLASSES))


@pytest.mark.parametrize("skip", [True, False], ids=["skip", "no skip"])
@pytest.mark.parametrize("kind", ["posterior", "linear"])
def test_a_head_learns_the_exact_posterior(bench: Bench, kind: str, skip: bool) -> None:
    assert failures(bench.proof(kind, skip=skip), skip=skip) == []


Formula = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# With the skip a forgotten root of the signal teaches the same p(k | x): the flip law sees it.
FORWARD: dict[str, tuple[Formula, str]] = {
    "no noise": (lambda y, e, a, b: a.sqrt() * y, "KL 1"),
    "both roots forgotten": (lambda y, e, a, b: a * y + b * e, "KL 2"),
    "noise without its root": (lambda y, e, a, b: a.sqrt() * y + b * e, "KL 2"),
    "coefficients swapped": (lambda y, e, a, b: b.sqrt() * y + a.sqrt() * e, "KL 3"),
    "another image's label": (lambda y, e, a, b: a.sqrt() * y.roll(1, 0) + b.sqrt() * e, "KL 2"),
    "pure noise": (lambda y, e, a, b: e + 0 * y, "KL 2"),
}
"""y_t by another formula of (clean, noise, abar, 1 - abar), and the number that shows it."""


@pytest.mark.parametrize("fault", FORWARD)
def test_a_faulty_forward_process_is_seen(bench: Bench, monkeypatch, fault: str) -> None:
    formula, by = FORWARD[fault]

    def noised(clean: Tensor, noise: Tensor, alpha_bar: Tensor, scale: float) -> Noised:
        signal = alpha_bar.float().unsqueeze(-1)
        return Noised(formula(scale * clean, noise, signal, 1 - signal), noise)

    monkeypatch.setattr(addkit.diffusion.model, "noised", noised)
    found = failures(bench.proof())
    assert any(line.startswith(by) for line in found), found


READS: dict[str, Callable[[Tensor], Tensor]] = {
    "c_t squared": lambda alpha_bar: log_likelihood_scale(alpha_bar).square(),
    "alpha_bar ignored": torch.ones_like,
    "root of alpha_bar for c_t": torch.sqrt,
}


@pytest.mark.parametrize("fault", READS)
def test_a_faulty_reading_is_seen(bench: Bench, monkeypatch, fault: str) -> None:
    """In a head without the skip, which knows of y_t by its embedding alone."""

    def read(self: PosteriorEmbedding, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        return (READS[fault](alpha_bar).unsqueeze(-1) * y_t).softmax(-1) @ self.weight

    monkeypatch.setattr(PosteriorEmbedding, "read", read)
    found = failures(bench.proof(skip=False), skip=False)
    assert any(line.startswith("KL 3") for line in found), found
