"""Scores of a training's networks, and the choice that is made by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from addkit.model import Inference, problem_of
from addkit.plugin.protocols import Meter
from addkit.training.evaluation import Case, score_cases
from addkit.training.job import Job

__all__ = ["CHOICES", "best_steps", "choose_steps", "meters_of", "scores_of"]

CHOICES = (1, 2, 5, 10, 20)
"""Lengths of chains to choose from."""


def meters_of(
    job: Job, split: str, only: str | None = None, steps: int | None = None
) -> dict[str, Meter]:
    """A meter for the averaged and for the raw weights, with the recipe's way to answer."""
    inference = _inference(job, steps)
    return {
        name: _score(job, name, split, {"recipe": Case(inference)})["recipe"]
        for name in job.weights
        if only in (None, name)
    }


def choose_steps(job: Job) -> tuple[int, dict[int, float]]:
    """The chain's length with the best headline on the validation split; the shortest of equals.

    Returns:
        the choice, and the headline of each candidate.
    """
    cases = {str(n): Case(_inference(job, n)) for n in CHOICES}
    meters = _score(job, next(iter(job.weights)), "validation", cases)
    values = {n: scores_of(meters[str(n)])[job.task.headline] for n in CHOICES}
    return best_steps(values), values


def best_steps(values: Mapping[int, float]) -> int:
    """The number of steps with the highest score; the smallest of equals."""
    return max(values, key=lambda n: (values[n], -n))


def scores_of(meter: Meter) -> dict[str, Any]:
    """All scores by name."""
    return asdict(meter.compute())


def _inference(job: Job, steps: int | None) -> Inference:
    return Inference.of(job.recipe, problem_of(job.recipe, job.source.facts), steps)


def _score(job: Job, weights: str, split: str, cases: dict[str, Case]) -> dict[str, Meter]:
    return score_cases(
        job.weights[weights],
        job.source.split(split),
        cases,
        job.task,
        batch_size=job.recipe.sampling.batch_size,
        seed=job.recipe.seed,
        workers=job.recipe.distributed.workers,
    )
