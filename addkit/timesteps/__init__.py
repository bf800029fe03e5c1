"""Training times: which t a uniform u stands for. Strata and rows at t = T are set before, in u."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from addkit.plugin.spec import Choices, Config, Problem, Spec, TimestepsSpec, hookimpl

__all__ = ["PowerConfig", "WarpedConfig"]


class PowerConfig(Config):
    """t = u ** schedule.t_power from the first step to the last; 1 is the paper's uniform t."""


class WarpedConfig(Config):
    """The cross-entropy rises evenly in u (CDCD), as learnt in training; starts as `power`."""

    bins: int = Field(100, ge=2, description="Straight pieces of the map, equally wide in t.")
    half_life: float = Field(
        100.0, gt=0, description="Optimizer steps in which an old loss loses half its weight."
    )
    floor: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of u that is spread evenly over t: no time is left out.",
    )


def _power(config: PowerConfig, problem: Problem) -> None:
    return None


def _needs_a_rising_loss(config: WarpedConfig, choices: Choices) -> Iterable[str]:
    loss, process = choices["loss"], choices["process"]
    if "rises-with-t" not in loss.spec.provides:
        yield (
            f'[loss] "{loss.name}" does not provide "rises-with-t", as a plain cross-entropy does; '
            'use "ce", or timesteps.name = "power"'
        )
    if "noise-levels" not in process.spec.provides:
        yield (
            f'[process] "{process.name}" does not provide "noise-levels", so there is no '
            'map to learn; use timesteps.name = "power"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in training times."""
    yield TimestepsSpec(
        name="power", config=PowerConfig, build=_power, summary="t = u ** t_power (paper: 1)."
    )
    yield TimestepsSpec(
        name="warped",
        config=WarpedConfig,
        build="addkit.timesteps.warped:WarpedTimes",
        check=_needs_a_rising_loss,
        summary="Learnt: the cross-entropy rises evenly in u (CDCD's time warping).",
    )
