"""What leaving a chain early saves, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from addkit.data.loader import fitting_workers
from addkit.errors import UsageError
from addkit.evaluation.audit import LOOP
from addkit.evaluation.batches import Case, answers
from addkit.metrics.statistics import paired_interval
from addkit.model import Inference, Predictor
from addkit.plugin.protocols import ImageSet, Meter
from addkit.training.scoring import scores_of


def needs_loop(predictor: Predictor) -> None:
    """Raise `UsageError` where there is no loop to leave."""
    if not predictor.loops:
        raise UsageError(
            "--early-exit with several values compares chains that are left early, and the process "
            f'"{predictor.recipe.choices["process"].name}" has no loop to leave'
        )


def exit_curve(
    predictor: Predictor, images: ImageSet, way: Inference, values: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """A row for each value, the whole chain first.

    Keys: `early_exit`; the task's headline score, such as `top1`; `mean_steps`, for each image;
    `saved`, the share of the whole chain's steps in [0, 1]; `difference`, `low` and `high`: images
    right, in points, minus those of the whole chain, with the 95 % interval over images.

    Args:
        predictor: that loops.
        images: of a split.
        way: to answer; a read-out of one pass gives way to `last`, one step to 20.
        values: leave an image once its answers stood for this many steps; 0 never.
        seed: of the noise, the same for every value.
    """
    ways = {value: _loop(way, value) for value in (0, *values)}
    found = _score(predictor, images, ways, seed)
    return [_row(value, one, found[0], predictor.task.headline) for value, one in found.items()]


@dataclass(slots=True)
class _Left:
    """One value's scores, and the steps that each image took."""

    meter: Meter
    steps: list[Tensor] = field(default_factory=list)

    @property
    def mean_steps(self) -> float:
        return float(torch.cat(self.steps).double().mean())


def _loop(way: Inference, early_exit: int) -> Inference:
    return way.replace(
        read_out="last" if way.one_pass else None,
        steps=way.steps if way.steps > 1 else LOOP,
        early_exit=early_exit,
    )


def _score(
    predictor: Predictor, images: ImageSet, ways: dict[int, Inference], seed: int
) -> dict[int, _Left]:
    left = {value: _Left(predictor.task.meter()) for value in ways}
    told = answers(
        predictor.network,
        images,
        {str(value): Case(way) for value, way in ways.items()},
        batch_size=predictor.recipe.sampling.batch_size,
        seed=seed,
        workers=fitting_workers(predictor.recipe.distributed.workers, 1),
    )
    for name, answer, batch in told:
        one = left[int(name)]
        one.meter.update(answer, batch)
        one.steps.append(answer.steps.cpu())
    return left


def _row(value: int, one: _Left, whole: _Left, headline: str) -> dict[str, Any]:
    right = one.meter.correct.double() - whole.meter.correct.double()
    lost = paired_interval(100 * right)
    return {
        "early_exit": value,
        headline: scores_of(one.meter)[headline],
        "mean_steps": one.mean_steps,
        "saved": 1 - one.mean_steps / whole.mean_steps,
        "difference": lost.mean,
        "low": lost.low,
        "high": lost.high,
    }
