"""A learning-rate range test (Smith 2017): a few steps at a rising rate, of which nothing stays."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from addkit.errors import RunError
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.training.backend import pick_device
from addkit.training.trainer import Trainer

LOWEST, HIGHEST = 1e-7, 1.0
STEPS = 150
SMOOTHING = 0.95
"""Share of the past in the smoothed loss."""
DIVERGED = 4.0
"""Times the lowest smoothed loss at which the test ends."""
BELOW = 10.0
"""The suggestion is so many times below the rate of the lowest loss."""


@dataclass(frozen=True, slots=True)
class RangePoint:
    """One step of the test."""

    lr: float
    loss: float
    """Smoothed over the steps before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTest:
    """Losses at rising learning rates."""

    points: list[RangePoint]
    diverged: bool
    """True if the loss rose beyond `DIVERGED`, or was no number, before the highest rate."""
    global_batch: int

    @property
    def lowest(self) -> RangePoint:
        """The point with the lowest smoothed loss."""
        return min(self.points, key=lambda point: point.loss)

    @property
    def suggestion(self) -> float:
        """A peak learning rate: a tenth of the rate at which the smoothed loss is lowest."""
        return self.lowest.lr / BELOW

    @property
    def base_lr(self) -> float:
        """The suggestion as `training.base_lr`."""
        return self.suggestion * 256 / self.global_batch


def find_lr(
    recipe: Recipe,
    device: str | None = None,
    step: Callable[[int, int], None] | None = None,
) -> RangeTest:
    """Take `STEPS` optimizer steps from the recipe's first weights, the learning rate rising
    exponentially from 1e-7 to 1, and forget them.

    Args:
        recipe: its optimizer, batch, losses and data are used, its learning rate is not.
        device: None picks a GPU if there is one.
        step: called after each step with its number and their count.

    Raises:
        RunError: the loss of the very first steps is not finite.
    """
    # Averaged weights are not read.
    recipe = replace(recipe, training=recipe.training.model_copy(update={"ema": 0.0}))
    points: list[RangePoint] = []
    diverged = False
    with TemporaryDirectory() as folder:
        trainer = Trainer(Run(Path(folder)), recipe, device or pick_device())
        trainer.schedule = lambda step: LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
        mean = 0.0
        batches = (each for epoch in count() for each in trainer.begin_epoch(epoch))
        with closing(trainer):
            for number, micro_batches in enumerate(islice(batches, STEPS), 1):
                try:
                    report = trainer.train_step(micro_batches)
                except RunError:
                    # The loss or a gradient is no number.
                    diverged = True
                    if not points:
                        raise
                    break
                mean = SMOOTHING * mean + (1 - SMOOTHING) * report.loss
                # The mean begins at 0, which the division corrects.
                loss = mean / (1 - SMOOTHING**number)
                points.append(RangePoint(report.lr, loss))
                if step is not None:
                    step(number, STEPS)
                least = min(point.loss for point in points)
                diverged = not math.isfinite(loss) or loss > DIVERGED * least
                if diverged:
                    break
    return RangeTest(points=points, diverged=diverged, global_batch=trainer.plan.global_batch)
