"""Training times: the map u -> t. Strata and rows at t = T are set before, in u."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, Problem, TimestepsSpec, components

if TYPE_CHECKING:
    from addkit.plugin.protocols import Timesteps
    from addkit.timesteps.settings import DiscreteConfig, WarpedConfig


def _needs_a_rising_loss(config: WarpedConfig, choices: Choices) -> Iterable[str]:
    loss = choices["loss"]
    if "rises-with-t" not in loss.spec.provides:
        yield (
            f'[loss] "{loss.name}" does not provide "rises-with-t", as a plain cross-entropy does; '
            'use "ce", or timesteps.name = "power"'
        )
    yield from _needs_levels(config, choices)


def _needs_levels(config: Any, choices: Choices) -> Iterable[str]:
    process = choices["process"]
    # Masked tokens are clean or pure noise: there are no times between.
    if "noise-levels" not in process.spec.provides:
        yield (
            f'[process] "{process.name}" does not provide "noise-levels", so there are no '
            'times to map; use timesteps.name = "power"'
        )


def _discrete(config: DiscreteConfig, problem: Problem) -> Timesteps:
    from addkit.timesteps.discrete import DiscreteTimes

    return DiscreteTimes(config, problem.t_power)


addkit_components = components(
    TimestepsSpec(
        "power", ".settings:PowerConfig", lambda *_: None, "t = u ** t_power (paper: 1)."
    ),
    TimestepsSpec(
        "discrete",
        ".settings:DiscreteConfig",
        _discrete,
        "t = ceil(T u ** t_power) / T, one of T steps, as the paper prints it.",
        check=_needs_levels,
    ),
    TimestepsSpec(
        "warped",
        ".settings:WarpedConfig",
        ".warped:WarpedTimes",
        "Learnt: the cross-entropy rises evenly in u (CDCD's time warping).",
        check=_needs_a_rising_loss,
    ),
)
