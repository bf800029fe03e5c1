"""Scores of a training's networks, and the choice that is made by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from addkit.errors import Stopped
from addkit.evaluation.batches import Case, score_cases
from addkit.model import Inference, Network, problem_of
from addkit.plugin.protocols import Meter
from addkit.training.job import Job

CHOICES = (1, 2, 5, 10, 20)
"""Lengths of chains to choose from."""


def meters_of(job: Job, split: str, steps: int | None = None, most: int = 2) -> dict[str, Meter]:
    """A meter for the averaged and for the raw weights, with the recipe's way to answer.

    Args:
        job: its networks.
        split: of its data.
        steps: what was chosen where the recipe says auto.
        most: 1 for the averaged weights alone, or the raw ones where no others are kept.
    """
    case = {"recipe": Case(_inference(job, steps))}
    networks = list(job.engine.networks().items())[:most]
    return {name: _score(job, network, split, case)["recipe"] for name, network in networks}


def choose_steps(job: Job) -> tuple[int, dict[int, float]]:
    """`best_steps` of a training's averaged weights, or raw ones where it keeps no others."""
    network = next(iter(job.engine.networks().values()))
    return best_steps(
        lambda cases: _score(job, network, "validation", cases),
        lambda steps: _inference(job, steps),
        job.task.headline,
    )


def best_steps(
    score: Callable[[dict[str, Case]], Mapping[str, Meter]],
    ask: Callable[[int], Inference],
    headline: str,
) -> tuple[int, dict[int, float]]:
    """The chain's length with the best headline; the shortest of equals.

    Args:
        score: cases on the validation split, by their names.
        ask: the way to answer in so many steps.
        headline: the task's.

    Returns:
        the choice, and the headline of each candidate.
    """
    meters = score({str(n): Case(ask(n)) for n in CHOICES})
    values = {n: scores_of(meters[str(n)])[headline] for n in CHOICES}
    return max(values, key=lambda n: (values[n], -n)), values


def scores_of(meter: Meter) -> dict[str, Any]:
    """All scores by name."""
    return asdict(meter.compute())


def _inference(job: Job, steps: int | None) -> Inference:
    return Inference.of(job.recipe, problem_of(job.recipe, job.source.facts), steps)


def _score(job: Job, network: Network, split: str, cases: dict[str, Case]) -> dict[str, Meter]:
    try:
        return score_cases(
            network,
            job.source.split(split),
            cases,
            job.task,
            batch_size=job.recipe.sampling.batch_size,
            seed=job.recipe.seed,
            workers=job.workers,
            world=job.world,
            stop=job.stop,
        )
    except Stopped as error:
        # All processes stop here together, so that they can.
        job.save_once()
        raise Stopped(f"{error}; step {job.progress.step} is saved", error.exit_code) from error
