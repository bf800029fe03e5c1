"""The audit: does the network use its own state, and does that help?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from addkit.evaluation.batches import Case
from addkit.model import Inference

LOOP = 20
"""Steps of the audited loop where the recipe answers in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Images right, in percent, by the recipe's chain under five conditions, and what follows."""

    first_step: float
    """At t = T alone: one step from noise."""
    last_step: float
    """After the last step of the loop."""
    shuffled_state: float
    """The loop with y_t shuffled between images."""
    no_image: float
    """The loop with the null condition."""
    control: float | None
    """The matched classifier; None where none was trained."""
    steps: int
    uses_state: bool
    uses_state_points: float
    """last_step - shuffled_state."""
    uses_state_interval: float
    """Half width of its 95 % interval, paired by image."""
    helps: bool | None
    """None: not distinguishable."""
    helps_points: float
    """last_step - first_step."""
    helps_interval: float
    answer: str


def audit_cases(inference: Inference) -> dict[str, Case]:
    """What the audit scores; the chain is read at its last step whatever the recipe's read-out."""
    steps = inference.steps if inference.steps > 1 else LOOP
    loop = inference.replace(read_out="last", early_exit=0, steps=steps)
    return {
        "first_step": Case(loop.replace(steps=1)),
        "last_step": Case(loop),
        "shuffled_state": Case(loop.replace(shuffled=True)),
        "no_image": Case(loop, no_image=True),
    }


def conclude(correct: dict[str, Tensor], control: float | None, steps: int) -> Audit:
    """From which images were right, (images,) bool for each case, to the answer."""
    uses, uses_half = _difference(correct["last_step"], correct["shuffled_state"])
    helps, helps_half = _difference(correct["last_step"], correct["first_step"])
    verdict = None if abs(helps) <= helps_half else helps > 0
    uses_state = uses > uses_half
    accuracy = {name: 100 * float(right.float().mean()) for name, right in correct.items()}
    return Audit(
        **accuracy,
        control=control,
        steps=steps,
        uses_state=uses_state,
        uses_state_points=uses,
        uses_state_interval=uses_half,
        helps=verdict,
        helps_points=helps,
        helps_interval=helps_half,
        answer=_answer(uses_state, uses, uses_half, verdict, helps, helps_half),
    )


def _difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean difference in points and the half width of its 95 % interval, paired by image."""
    differences = 100 * (first.double() - second.double())
    spread = float(differences.std()) if len(differences) > 1 else math.inf
    return float(differences.mean()), 1.96 * spread / math.sqrt(len(differences))


def _answer(
    uses_state: bool, uses: float, uses_half: float, verdict: bool | None, helps: float, half: float
) -> str:
    use = "uses its own state" if uses_state else "does not use its own state"
    help_ = {True: "that helps", False: "that costs accuracy", None: "that changes nothing sure"}
    return (
        f"The network {use}: shuffling y_t between images costs {uses:.1f} +- {uses_half:.1f} "
        f"points. Iterating on it: {help_[verdict]}, last step minus first step "
        f"{helps:+.1f} +- {half:.1f} points."
    )
