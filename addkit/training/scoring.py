"""Scores of a training's networks, and the choice that is made by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from addkit.errors import Stopped
from addkit.evaluation.batches import Evaluator, Setting
from addkit.evaluation.batches import scores_of as scores_of
from addkit.model import Inference, Network, problem_of
from addkit.plugin.protocols import Meter
from addkit.training.job import Job


def meters_of(job: Job, split: str, steps: int | None = None, most: int = 2) -> dict[str, Meter]:
    """A meter for the averaged and for the raw weights, with the recipe's way to answer.

    Args:
        job: its networks.
        split: of its data.
        steps: what was chosen where the recipe says auto.
        most: 1 for the averaged weights alone, or the raw ones where no others are kept.
    """
    setting = {"recipe": Setting(_inference(job, steps))}
    networks = list(job.engine.networks().items())[:most]
    with _saved_when_stopped(job):
        return {
            name: _evaluator(job, network, split).score(setting)["recipe"]
            for name, network in networks
        }


def choose_steps(job: Job) -> tuple[int, dict[int, float]]:
    """`Evaluator.best_steps` of the averaged weights, or raw ones where no others are kept."""
    network = next(iter(job.engine.networks().values()))
    with _saved_when_stopped(job):
        return _evaluator(job, network, "validation").best_steps(
            lambda steps: _inference(job, steps), job.task.headline
        )


def _inference(job: Job, steps: int | None) -> Inference:
    return Inference.of(job.recipe, problem_of(job.recipe, job.source.facts), steps)


def _evaluator(job: Job, network: Network, split: str) -> Evaluator:
    return Evaluator(
        network=network,
        images=job.source.split(split),
        task=job.task,
        batch_size=job.recipe.sampling.batch_size,
        seed=job.recipe.seed,
        workers=job.workers,
        world=job.world,
        stop=job.stop,
    )


@contextmanager
def _saved_when_stopped(job: Job) -> Iterator[None]:
    try:
        yield
    except Stopped as error:
        # All ranks stop at the same batch, so that they can save together.
        job.save_once()
        raise Stopped(f"{error}; step {job.progress.step} is saved", error.exit_code) from error
