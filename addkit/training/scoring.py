"""Scores of a training's networks, and the sampling steps that they choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from addkit.errors import Stopped
from addkit.evaluation.batches import Case, score_cases
from addkit.model import Inference, Network, problem_of
from addkit.plugin.protocols import Meter
from addkit.training.trainer import Trainer

CHOICES = (1, 2, 5, 10, 20)
"""Lengths of chains to choose from."""


def meters_of(
    trainer: Trainer, split: str, steps: int | None = None, most: int = 2
) -> dict[str, Meter]:
    """A meter for the averaged and for the raw weights, with the recipe's sampling.

    Args:
        trainer: of the networks.
        split: of its data.
        steps: the chosen ones where the recipe says auto.
        most: 1 for the averaged weights alone, or the raw ones where there are no others.
    """
    setting = {"recipe": Case(_inference(trainer, steps))}
    networks = list(trainer.engine.networks().items())[:most]
    return {name: _score(trainer, network, split, setting)["recipe"] for name, network in networks}


def choose_steps(trainer: Trainer) -> tuple[int, dict[int, float]]:
    """`best_steps` of a training's averaged weights, or raw ones where it has no others."""
    network = next(iter(trainer.engine.networks().values()))
    return best_steps(
        lambda settings: _score(trainer, network, "validation", settings),
        lambda steps: _inference(trainer, steps),
        trainer.task.headline,
    )


def best_steps(
    score: Callable[[dict[str, Case]], Mapping[str, Meter]],
    inference: Callable[[int], Inference],
    headline: str,
) -> tuple[int, dict[int, float]]:
    """The number of steps with the best headline; the fewest of equals.

    Args:
        score: settings on the validation split, by their names.
        inference: the one with so many steps.
        headline: the task's.

    Returns:
        the choice, and the headline of each candidate.
    """
    meters = score({str(n): Case(inference(n)) for n in CHOICES})
    values = {n: scores_of(meters[str(n)])[headline] for n in CHOICES}
    return max(values, key=lambda n: (values[n], -n)), values


def scores_of(meter: Meter) -> dict[str, Any]:
    """All scores by name."""
    return asdict(meter.compute())


def _inference(trainer: Trainer, steps: int | None) -> Inference:
    return Inference.of(trainer.recipe, problem_of(trainer.recipe, trainer.source.facts), steps)


def _score(
    trainer: Trainer, network: Network, split: str, settings: dict[str, Case]
) -> dict[str, Meter]:
    try:
        return score_cases(
            network,
            trainer.source.split(split),
            settings,
            trainer.task,
            batch_size=trainer.recipe.sampling.batch_size,
            seed=trainer.recipe.seed,
            workers=trainer.workers,
            world=trainer.world,
            stop=trainer.stop,
        )
    except Stopped as error:
        # All processes stop here together, so that they can save together.
        trainer.save_once()
        raise Stopped(f"{error}; step {trainer.progress.step} is saved", error.exit_code) from error
