"""What the sampling loop does: the audit under five conditions, and accuracy against early exit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from addkit.errors import UsageError
from addkit.evaluation.batches import Evaluator, Setting, scores_of
from addkit.evaluation.results import Audit, ExitRow
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


FEWEST_IMAGES = 100
"""Below this number of images the noise of one sampling exceeds the interval over images."""

LOOP = 20
"""Steps of the audited loop where the recipe takes one."""


def loop_of(inference: Inference) -> Inference:
    """The same settings with a chain of several steps, read at its last step, without early exit.

    The read-out is replaced, since one that answers in one pass has no last step.
    """
    steps = inference.steps if inference.steps > 1 else LOOP
    # A chain that exits early has no last step to measure.
    return inference.replace(read_out="last", early_exit=0, steps=steps)


def audit_settings(inference: Inference) -> dict[str, Setting]:
    """The four conditions of the audit, by the field of `Audit` that they fill."""
    loop = loop_of(inference)
    return {
        "first_step": Setting(loop.replace(steps=1)),
        "last_step": Setting(loop),
        # Each image reads the y_t of another: what it costs is the use made of the own state.
        "shuffled_state": Setting(loop.replace(shuffled=True)),
        # The counterpart: y_t alone, without the image.
        "no_image": Setting(loop, no_image=True),
    }


def conclude(correct: dict[str, Tensor], control: float | None, steps: int) -> Audit:
    """The audit's result.

    Args:
        correct: which images are right under each condition, (images,) bool.
        control: percent right of the matched control.
        steps: steps of the loop.
    """
    # A difference counts only outside its own 95 % interval.
    uses, uses_half = _difference(correct["last_step"], correct["shuffled_state"])
    helps, helps_half = _difference(correct["last_step"], correct["first_step"])
    uses_state = uses > uses_half
    images = len(correct["last_step"])
    verdict = None if abs(helps) <= helps_half or images < FEWEST_IMAGES else helps > 0
    use = "uses its own state" if uses_state else "does not use its own state"
    effect = {True: "helps", False: "costs accuracy", None: "makes no detectable difference"}
    return Audit(
        **{name: 100 * float(right.float().mean()) for name, right in correct.items()},
        control=control,
        steps=steps,
        uses_state=uses_state,
        uses_state_points=uses,
        uses_state_interval=uses_half,
        helps=verdict,
        helps_points=helps,
        helps_interval=helps_half,
        answer=(
            f"The network {use}: shuffling y_t between images costs {uses:.1f} +- {uses_half:.1f} "
            f"points. Iterating {effect[verdict]}: last step minus first step {helps:+.1f} +- "
            f"{helps_half:.1f} points."
            + (f" {images} images are too few for a verdict." if images < FEWEST_IMAGES else "")
        ),
    )


def _difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean difference in points and the half width of its 95 % interval, paired by image."""
    # (images,) of -100, 0 or 100; double, since the sum runs over a whole split.
    differences = 100 * (first.double() - second.double())
    # Pairing removes the variance between easy and hard images.
    # One image has no spread: an infinite interval leaves every claim undecided.
    spread = float(differences.std()) if len(differences) > 1 else math.inf
    return float(differences.mean()), 1.96 * spread / math.sqrt(len(differences))
