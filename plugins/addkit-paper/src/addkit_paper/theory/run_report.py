"""Entropy along the chains of a trained run, and the KL of its head to the exact posterior."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from addkit.diffusion import LabelDiffusion, alpha_bar_at, bayes_denoiser, counted_generator, noised
from addkit.diffusion.randomness import draw_labels
from addkit.errors import UsageError
from addkit.evaluation.audit import LOOP
from addkit.model import Predictor, build_data, load
from addkit.plugin.protocols import Schedule

LEVELS = (0.0, 1.0, 2.0, 3.0)
COPIES = 16
"""Noisy labels of each image for each m."""

SEVERAL = (
    "the run has several labels an image, which depend on each other, so that the exact posterior "
    "is not known"
)
NO_STATE = "the run's head reads no noisy label"


@dataclass(frozen=True, slots=True)
class Entropy:
    """Entropy of the network's distribution at one step, a mean over images and tokens."""

    step: int
    t: float
    bits: float


@dataclass(frozen=True, slots=True)
class Distance:
    """KL(exact posterior || head) in nats at one m, a mean over images and noise."""

    m: float
    kl: float


@dataclass(frozen=True, slots=True)
class RunReport:
    """The measurements of `addkit theory --run`."""

    run: str
    images: int
    entropies: tuple[Entropy, ...]
    distances: tuple[Distance, ...]
    """Empty where the exact posterior is unknown; `unknown` is the reason."""
    unknown: str | None

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@torch.inference_mode()
def measure_run(path: Path, images: int = 64, seed: int = 0) -> RunReport:
    r"""Measure chains and head of a run on the first images of its test split.

    For one label, the prior is the run's own p(k | x), read at y_T = 0. An exact head computes
    :math:`\mathrm{softmax}(\log p(k \mid x) + c_t y_t)` at every level; labels are drawn from
    that prior, 16 for each image.

    Raises:
        RunError, DataError: no run, or its data cannot be read.
        UsageError: its process has no chain of noisy labels.
    """
    predictor = load(path)
    if not predictor.loops:
        process = predictor.recipe.choices["process"].name
        raise UsageError(f'{path}: its process "{process}" has no chain of noisy labels')
    split = build_data(predictor.recipe).split("test")
    batch = split.batch(list(range(min(images, len(split)))), None)
    condition = predictor.network.condition(batch.images, batch.side_inputs)  # (B, C, V)
    # Both measurements draw from one generator, so that their order must not change.
    source = counted_generator(seed, "theory")
    entropies = _entropies(predictor, condition, source)
    model = predictor.network.diffusion
    unknown = _unknown(model)
    return RunReport(
        run=str(path),
        images=len(batch.indices),
        entropies=entropies,
        distances=() if unknown else _distances(model, condition, source),
        unknown=unknown,
    )


def _unknown(model: LabelDiffusion) -> str | None:
    # Bayes' rule with one prior p(k | x) is exact for a single label only.
    if model.num_tokens > 1:
        return SEVERAL
    return NO_STATE if model.embedding is None else None


def _entropies(
    predictor: Predictor, condition: Tensor, source: torch.Generator
) -> tuple[Entropy, ...]:
    inference = predictor.inference
    if inference.steps == 1:  # one step has no course to measure
        inference = inference.replace(steps=LOOP)
    # Without early exit, since a mean over the images needs all of them at each step.
    steps = inference.replace(early_exit=0).trace(predictor.network.diffusion, condition, source)
    return tuple(Entropy(step.index + 1, step.t, _bits(step.logits)) for step in steps)


def _bits(logits: Tensor) -> float:
    log_p = logits.double().log_softmax(-1)  # (B, R, N, K)
    return -float((log_p.exp() * log_p).sum(-1).mean()) / math.log(2)


def _distances(
    model: LabelDiffusion, condition: Tensor, source: torch.Generator
) -> tuple[Distance, ...]:
    prepared = model.prepare(condition)
    blank = torch.zeros(len(condition), 1, 1, model.num_classes)
    # y_T = 0 carries no information: the head then reads the image alone.
    prior = _head(model, blank, 1.0, torch.zeros(1), prepared)  # (B, 1, 1, K)
    labels = draw_labels(prior.expand(-1, COPIES, -1, -1), source).ids  # (B, R, 1)
    clean = torch.nn.functional.one_hot(labels, model.num_classes).float()  # (B, R, 1, K)
    return tuple(Distance(m, _distance(model, prior, clean, m, prepared, source)) for m in LEVELS)


def _distance(
    model: LabelDiffusion,
    prior: Tensor,
    clean: Tensor,
    m: float,
    prepared: tuple[Tensor, ...],
    source: torch.Generator,
) -> float:
    scale = model.schedule.scale
    level = alpha_bar_at(torch.tensor([m]), scale)
    # Times of a schedule are not compared: m is what the posterior depends on.
    noise = torch.randn(clean.shape, generator=source)
    y_t = noised(clean, noise, level, scale).y_t
    exact = bayes_denoiser(prior, y_t, level, scale)
    head = _head(model, y_t, _time_of(model.schedule, float(level)), level, prepared)
    return float((exact.exp() * (exact - head)).sum(-1).mean())


def _head(
    model: LabelDiffusion, y_t: Tensor, t: float, level: Tensor, prepared: tuple[Tensor, ...]
) -> Tensor:
    """The network's log p(k | y_t, x), (B, R, 1, K)."""
    state = model.read(y_t, level.view(1, 1, 1))
    features = model.features(state, torch.full((1, 1, 1), t), prepared)
    outputs = model.outputs(features, state, level.view(1, 1, 1))
    return model.logits(outputs, state.y_t, level.view(1, 1, 1)).log_softmax(-1)


def _time_of(schedule: Schedule, level: float) -> float:
    """The t at which a decreasing alpha_bar reaches a level, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):  # 2^-40 is far below the resolution of t in float32
        middle = (low + high) / 2
        above = float(schedule.alpha_bar(torch.tensor(middle, dtype=torch.float64))) > level
        low, high = (middle, high) if above else (low, middle)
    return high
