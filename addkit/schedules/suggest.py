"""Schedules that suit a number of classes, and a warning about one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addkit.diffusion.information import informative_share
from addkit.plugin.protocols import Schedule
from addkit.plugin.registry import load_registry
from addkit.plugin.spec import Problem
from addkit.terminal import addkit_command

ENOUGH = 0.3
"""Share of training times below which `scarce_information` warns."""

SCALES = (1.0, 0.5, 2.0, 4.0)
"""b that `suggest` tries; of equals the first wins."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A schedule by name, the scale b, and the share of informative times that it has."""

    schedule: str
    scale: float
    share: float


def suggest(num_classes: int, scales: Sequence[float] = SCALES) -> list[Suggestion]:
    """Each built-in schedule at the scale with the largest informative share, the best first.

    Every built-in schedule is tried with each scale and otherwise its own defaults. Deterministic.
    The largest share is not yet the best recipe, see `informative_share`.
    """
    registry = load_registry()
    best = []
    for name in registry.names("schedule"):
        provided = registry.get("schedule", name)
        if not provided.provider.startswith("addkit "):
            # A plugin's schedule may need settings that have no defaults.
            continue
        tried = []
        for scale in scales:
            config = provided.spec.settings.model_validate({"scale": scale})
            problem = Problem(num_classes=num_classes, scale=scale)
            share = informative_share(provided.spec.create(config, problem), num_classes)
            tried.append(Suggestion(name, scale, share))
        # A difference below 0.001 comes from the number of points: then the first scale wins.
        best.append(max(tried, key=lambda suggestion: round(suggestion.share, 3)))
    return sorted(best, key=lambda suggestion: -suggestion.share)


def scarce_information(schedule: Schedule, problem: Problem) -> str | None:
    """A warning if under 30 % of the training times are informative, else None.

    With several tokens, about the one with the smallest share; its K is the number of classes that
    it can take.
    """
    ranges = problem.token_classes or ((0, problem.num_classes),)
    # A token with one class has nothing to predict.
    sizes = {stop - start for start, stop in ranges if stop - start > 1}
    shares = {size: informative_share(schedule, size) for size in sorted(sizes)}
    if not shares or min(shares.values()) >= ENOUGH:
        return None
    size = min(shares, key=lambda size: shares[size])
    ranks = addkit_command("schedule", "show", "--classes", size, "--suggest")
    return (
        f"only {100 * shares[size]:.0f} % of the training times are informative: at the others "
        f"y_t contains under 5 % or over 95 % of the bits of a label of {size} classes; "
        f"`{ranks}` ranks schedules by this"
    )
