"""The learning rate of each step: a linear warm-up, then a schedule by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from addkit.errors import RecipeError
from addkit.recipe import Recipe
from addkit.training.plan import Plan

STEP_SHARE, STEP_FACTOR = 0.3, 0.1
"""`step` multiplies the rate by the factor after each such share of the steps, as timm does."""
DECAY_SHARE = 0.2
"""Share of the steps in which `wsd` and `rsqrt` fall to `min_lr`."""

Schedule = Callable[[int], float]
"""Optimizer steps taken so far -> learning rate of the next one."""


def learning_rate(step: int, plan: Plan, min_lr: float) -> float:
    """Linear warm-up to the peak, then half a cosine down to `min_lr` at the last step."""
    if step < plan.warmup_steps:
        return _warmup(step, plan)
    done = (step - plan.warmup_steps) / max(plan.steps - plan.warmup_steps, 1)
    return min_lr + 0.5 * (plan.peak_lr - min_lr) * (1 + math.cos(math.pi * done))


def _warmup(step: int, plan: Plan) -> float:
    # step + 1: the first step has a rate above 0.
    return plan.peak_lr * (step + 1) / plan.warmup_steps


def rate_schedule(recipe: Recipe, plan: Plan) -> Schedule:
    """The recipe's schedule, which follows from the number of the step alone, also after a resume.

    All but `cosine` and `constant` are timm's over the steps after the warm-up. Raises
    `RecipeError` if the installed timm lacks the schedule.
    """
    training = recipe.training
    name, min_lr = training.lr_schedule, training.min_lr
    if name == "cosine":
        return partial(learning_rate, plan=plan, min_lr=min_lr)
    if name == "constant":
        return lambda step: _warmup(step, plan) if step < plan.warmup_steps else plan.peak_lr
    import timm.scheduler

    timm_scheduler: Any = timm.scheduler
    # timm writes rates into an optimizer; this one has nothing else to do.
    target = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=plan.peak_lr)
    rest = max(plan.steps - plan.warmup_steps, 1)
    share = STEP_SHARE if name == "step" else DECAY_SHARE
    try:
        scheduler, _ = timm_scheduler.create_scheduler_v2(
            target,
            name,
            num_epochs=rest,
            decay_epochs=max(round(share * rest), 1),
            # timm calls the power of `poly` a rate, too.
            decay_rate=1.0 if name == "poly" else STEP_FACTOR,
            min_lr=min_lr,
            step_on_epochs=False,
            updates_per_epoch=1,
            **({"stable_timescale": max(plan.warmup_steps, 1)} if name == "rsqrt" else {}),
        )
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f'{recipe.source}: [training] lr_schedule "{name}": this version of timm has no such '
            f"schedule ({error}); install a newer timm, or take another schedule"
        ) from error

    def rate(step: int) -> float:
        if step < plan.warmup_steps:
            return _warmup(step, plan)
        scheduler.step_update(step - plan.warmup_steps)
        return float(target.param_groups[0]["lr"])

    return rate
