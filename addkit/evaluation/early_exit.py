"""Early exit: the steps that it saves, and the accuracy that it costs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from addkit.errors import UsageError
from addkit.evaluation.audit import LOOP
from addkit.evaluation.batches import Evaluator, Setting, scores_of
from addkit.evaluation.results import ExitRow
from addkit.metrics.statistics import paired_interval
from addkit.model import Inference, Predictor


def needs_loop(predictor: Predictor) -> None:
    """Raise `UsageError` for a process that is sampled without a loop."""
    if not predictor.loops:
        raise UsageError(
            "--early-exit with several values compares chains that stop early, and the process "
            f'"{predictor.recipe.choices["process"].name}" has no loop to stop'
        )


def exit_curve(
    evaluator: Evaluator, inference: Inference, values: Sequence[int], headline: str
) -> list[ExitRow]:
    """A row for each value, the whole chain first. All values share the same noise.

    Args:
        evaluator: evaluates a network that is sampled in a loop.
        inference: a one-pass read-out is replaced by `last`, a single step by 20.
        values: stop a chain once its answer has not changed for this many steps; 0: never.
        headline: the task's score.
    """
    # One step has nothing to stop, and a one-pass read-out runs no step at all.
    steps = inference.steps if inference.steps > 1 else LOOP
    loop = inference.replace(read_out="last" if inference.one_pass else None, steps=steps)
    # The whole chain (0) comes first, since each row is compared with it.
    settings = {str(v): Setting(loop.replace(early_exit=v)) for v in dict.fromkeys((0, *values))}
    # Not `Evaluator.score`: the steps that each image took are on its answer, not in a meter.
    meters = {name: evaluator.task.meter() for name in settings}
    taken: dict[str, list[Tensor]] = {name: [] for name in settings}
    for name, answer, batch in evaluator.predict_batches(settings):
        meters[name].update(answer, batch)
        taken[name].append(answer.steps.cpu())  # (B,)
    mean_steps = {name: float(torch.cat(parts).double().mean()) for name, parts in taken.items()}
    rows = []
    for name, meter in meters.items():
        # Paired by image, so that the interval is that of the change alone.
        change = paired_interval(100 * (meter.correct.double() - meters["0"].correct.double()))
        rows.append(
            ExitRow(
                early_exit=int(name),
                metric=headline,
                value=float(scores_of(meter)[headline] or 0),
                mean_steps=mean_steps[name],
                saved=1 - mean_steps[name] / mean_steps["0"],
                difference=change.mean,
                low=change.low,
                high=change.high,
            )
        )
    return rows
