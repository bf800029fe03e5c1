"""Scores of a training's networks, and the choice that is made by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from addkit.errors import Stopped
from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import Inference, Network, problem_of
from addkit.plugin.protocols import Meter
from addkit.training.trainer import Trainer


def meters_of(
    trainer: Trainer, split: str, steps: int | None = None, most: int = 2
) -> dict[str, Meter]:
    """A meter for the averaged and for the raw weights, with the recipe's sampling.

    Args:
        trainer: of the networks.
        split: of its data.
        steps: the chosen ones where the recipe has "auto".
        most: 1 for the averaged weights alone, or the raw ones where there are no others.
    """
    setting = {"recipe": Setting(_inference(trainer, steps))}
    networks = list(trainer.engine.networks().items())[:most]
    with _saved_when_stopped(trainer):
        return {
            name: _evaluator(trainer, network, split).score(setting)["recipe"]
            for name, network in networks
        }


def choose_steps(trainer: Trainer) -> tuple[int, dict[int, float]]:
    """`Evaluator.best_steps` of the averaged weights, or raw ones where there are no others."""
    network = next(iter(trainer.engine.networks().values()))
    with _saved_when_stopped(trainer):
        return _evaluator(trainer, network, "validation").best_steps(
            lambda steps: _inference(trainer, steps), trainer.task.headline
        )


def _inference(trainer: Trainer, steps: int | None) -> Inference:
    return Inference.of(trainer.recipe, problem_of(trainer.recipe, trainer.source.facts), steps)


def _evaluator(trainer: Trainer, network: Network, split: str) -> Evaluator:
    return Evaluator(
        network=network,
        images=trainer.source.split(split),
        task=trainer.task,
        batch_size=trainer.recipe.sampling.batch_size,
        seed=trainer.recipe.seed,
        workers=trainer.workers,
        world=trainer.world,
        stop=trainer.stop,
    )


@contextmanager
def _saved_when_stopped(trainer: Trainer) -> Iterator[None]:
    try:
        yield
    except Stopped as error:
        # All ranks stop at the same batch, so that they can save together.
        trainer.save_once()
        raise Stopped(f"{error}; step {trainer.progress.step} is saved", error.exit_code) from error
