"""One label: loops, flips, drift and guidance, with the exact denoiser."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from addkit.diffusion import (
    ChainSettings,
    LabelDiffusion,
    alpha_bar_at,
    bayes_denoiser,
    flip_probability,
    gibbs_accuracy,
)
from addkit.diffusion.randomness import draw_labels
from addkit.samplers.blocks import sample
from addkit.samplers.renoise import Ddim, Gibbs, Kappa, Renoise
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig
from addkit.testing.exact_models import GaussianClasses, Levels, exact_denoiser, expected_accuracy
from addkit.to_one.argmax import ArgMax
from addkit.to_one.softmax import Softmax
from addkit_paper.theory.findings import Measurement, Result

RENOISE = Renoise()
GIBBS = Gibbs()
LOOPS: dict[str, tuple[Any, Any]] = {
    "renoise": (RENOISE, ArgMax()),
    "gibbs": (GIBBS, ArgMax()),
    "ancestral": (Kappa(1.0), Softmax(1.0)),
    "ddim": (Ddim(0.0), ArgMax()),
}
CLASSES, IMAGES, STEPS = 10, 1500, 20
DRAWS = 50000
"""Samples in experiments with two classes."""


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _error(p: float, count: int) -> float:
    """Four standard errors of a share p of `count` samples."""
    return 4 * math.sqrt(max(p * (1 - p), 1e-4) / count)


@dataclass(frozen=True)
class _Ten:
    """Ten classes with a Bayes accuracy of 80 %, the exact denoiser and p(k | x) of images."""

    model: LabelDiffusion
    log_p: Tensor

    @classmethod
    @functools.cache
    def make(cls) -> _Ten:
        problem = GaussianClasses.of(CLASSES, 16, 0.8)
        # Cached: three results share these images.
        points, _ = problem.draw(IMAGES, _generator(5))
        model = exact_denoiser(
            CLASSES, LabelAccuracySchedule(LabelAccuracyConfig.model_validate({}), CLASSES)
        )
        return cls(model, problem.log_posterior(points))

    @property
    def best(self) -> float:
        """E max p, the accuracy of reading p(k | x) once."""
        return float(self.log_p.exp().double().amax(-1).mean())

    def answers(self, sampler: Any = RENOISE, to_one: Any = None, **settings: Any) -> Tensor:
        """Each image's label at the end of a chain, (B,)."""
        *_, last = sample(
            self.model,
            self.log_p.unsqueeze(1),
            sampler,
            to_one or ArgMax(),
            ChainSettings(**settings),
            _generator(8),
        )
        return last.logits.argmax(-1)[:, 0, 0]

    def right(self, *loop: Any, **settings: Any) -> float:
        """E p(answer | x), the expected accuracy."""
        return expected_accuracy(self.log_p.exp(), self.answers(*loop, **settings))


def _no_gain() -> list[Measurement]:
    ten = _Ten.make()
    # Fifty draws of each image's true label, so that the check does not use the formula.
    truths = draw_labels(ten.log_p.expand(50, -1, -1), _generator(9)).ids  # (50, B)
    measurements = []
    for name, (sampler, to_one) in LOOPS.items():
        answers = ten.answers(sampler, to_one, steps=STEPS)
        expected = expected_accuracy(ten.log_p.exp(), answers)
        hit = float((truths == answers).double().mean())
        what = f"{name}, {STEPS} steps: right, of drawn labels"
        measurements.append(Measurement(what, expected, hit, _error(expected, truths.numel()), "="))
        measurements.append(Measurement(f"{name}: against E max p", ten.best, hit, 0.0, "<="))
    return measurements


def _flip_law() -> list[Measurement]:
    measurements = []
    for odds, m in ((-1.0, 1.0), (0.5, 0.7), (2.0, math.sqrt(2.0))):
        level = alpha_bar_at(torch.tensor(m, dtype=torch.float64))
        noise = torch.randn(DRAWS, 2, generator=_generator(3), dtype=torch.float64)
        y_t = (1 - level).sqrt() * noise
        y_t[:, 0] += level.sqrt()  # class 0 is the truth, b = 1
        prior = torch.tensor([odds, 0.0], dtype=torch.float64)
        flips = float((bayes_denoiser(prior, y_t, level, 1.0).argmax(-1) == 1).double().mean())
        law = _law(odds, m)
        what = f"P(flip) at D = {odds:g}, m = {m:.2f}"
        measurements.append(Measurement(what, law, flips, _error(law, DRAWS)))
    # A grid of m with steps of 0.001: the maximum is flat, its position is within one step.
    grid = torch.linspace(0.2, 5, 4801, dtype=torch.float64)
    probabilities = flip_probability(torch.tensor(2.0, dtype=torch.float64), grid)
    most = float(torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64)))
    return [
        *measurements,
        Measurement(
            "m of most flips at D = 2", math.sqrt(2.0), float(grid[probabilities.argmax()]), 0.001
        ),
        Measurement("that most, Phi(-sqrt(2 D))", most, float(probabilities.max()), 1e-6),
    ]


def _law(odds: float, m: float) -> float:
    return float(flip_probability(*(torch.tensor(x, dtype=torch.float64) for x in (odds, m))))


def _stays(odds: float, m: float) -> float:
    """Stationary probability of the likelier of two classes at fixed m (a two-state chain)."""
    to, back = _law(odds, m), _law(-odds, m)
    return back / (to + back)


def _constant(level: float) -> Levels:
    # A function of its own, as a lambda in a loop does not bind its level.
    return Levels(lambda t: torch.full_like(t, level))


def _drift() -> list[Measurement]:
    odds, count, measurements = 0.7, 20000, []
    condition = torch.tensor([odds, 0.0]).log_softmax(-1).view(1, 1, 2)
    for m in (0.5, 1.5):
        level = float(alpha_bar_at(torch.tensor(m)))
        # A schedule with one level: every step re-noises to the same m.
        model = exact_denoiser(2, _constant(level))
        settings = ChainSettings(steps=60, chains=count)
        *_, last = sample(model, condition, RENOISE, ArgMax(), settings, _generator(1))
        share = float((last.logits.argmax(-1) == 0).double().mean())
        what = f"two classes, D = {odds}: in the mode after 60 steps at m = {m}"
        measurements.append(Measurement(what, _stays(odds, m), share, _error(share, count)))
    posterior = 1 / (1 + math.exp(-odds))
    measurements += [
        Measurement(
            "the same in closed form, m = 0.1: always the mode", 1.0, _stays(odds, 0.1), 0.001
        ),
        Measurement("m = 6: the posterior p", posterior, _stays(odds, 6.0), 0.02),
    ]
    return measurements + _ten_drift()


def _ten_drift() -> list[Measurement]:
    ten = _Ten.make()
    drawn = float(gibbs_accuracy(ten.log_p.double().exp()))
    one, twenty, long = (ten.right(steps=steps) for steps in (1, STEPS, 150))
    gibbs = ten.right(GIBBS, steps=40)
    # An answer's chance p(answer | x) spreads by less than 0.35 over images and draws.
    error = 4 * 0.35 / math.sqrt(IMAGES)
    return [
        Measurement("ten classes, one step: E max p", ten.best, one, 1e-6),
        Measurement(f"{STEPS} steps: 3 points below", ten.best - 0.03, twenty, 0.0, "<="),
        Measurement("150 steps: below those", twenty, long, 0.0, "<="),
        Measurement("150 steps: not below draws, E sum p^2", drawn, long, 0.0, ">="),
        Measurement("draw and re-noise, 40 steps: E sum p^2", drawn, gibbs, error),
    ]


def _guidance() -> list[Measurement]:
    odds, m, measurements = 0.7, 1.0, []
    level = float(alpha_bar_at(torch.tensor(m)))
    # Step 1 starts from y_T = 0 at t = 1; step 2 re-noises to m, and may flip once.
    formula = Levels(lambda t: torch.where(t == 1, torch.zeros_like(t), torch.full_like(t, level)))
    model = exact_denoiser(2, formula)
    condition = torch.tensor([odds, 0.0]).log_softmax(-1).view(1, 1, 2)
    for w in (1.0, 2.0, 3.0):
        settings = ChainSettings(steps=2, chains=DRAWS, guidance=w, start="zero")
        *_, last = sample(model, condition, RENOISE, ArgMax(), settings, _generator(2))
        flips = float((last.logits.argmax(-1) == 1).double().mean())
        law = _law(w * odds, m)
        what = f"P(flip) at D = {odds}, m = {m:g}, w = {w:g}"
        measurements.append(Measurement(what, law, flips, _error(law, DRAWS)))
    ten = _Ten.make()
    plain, strong = (ten.right(steps=STEPS, guidance=w) for w in (1.0, 5.0))
    return [
        *measurements,
        Measurement(f"ten classes, {STEPS} steps: w = 5 over w = 1", plain, strong, 0.0, ">="),
        Measurement("w = 5 comes to E max p", ten.best, strong, 0.006),
    ]


RESULTS = (
    Result(
        "no-gain",
        "On one label no loop beats reading p(label | image) once.",
        "P(answer = y | x) = sum_k P(answer = k | x) p(k | x) <= max_k p(k | x)",
        _no_gain,
    ),
    Result(
        "flip-law",
        "A step of arg-max-and-re-noise changes its guess by a chance that is known, and most "
        "where m^2 is the log odds.",
        "P(i to j) = Phi(-(D + m^2) / (sqrt(2) m)), D = log p_i - log p_j",
        _flip_law,
    ),
    Result(
        "drift",
        "With more steps arg-max-and-re-noise drifts from the mode towards a draw from the "
        "posterior, and loses accuracy.",
        "odds at fixed m: Phi((D - m^2) / (sqrt(2) m)) / Phi(-(D + m^2) / (sqrt(2) m)), "
        "infinite at m = 0 and e^D at large m; accuracy from E max p towards E sum p^2",
        _drift,
    ),
    Result(
        "guidance",
        "Guidance multiplies the image's log odds, so that it undoes the drift.",
        "P(i to j) = Phi(-(w D + m^2) / (sqrt(2) m))",
        _guidance,
    ),
)
