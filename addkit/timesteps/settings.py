"""Settings of the built-in timesteps: what their tables in a recipe may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from addkit.plugin.config import Config, Factor, Steps


class PowerConfig(Config):
    """t = u ** schedule.t_power from the first step to the last; 1 is the paper's uniform t."""


class DiscreteConfig(Config):
    """t is one of T steps, as the paper prints it; `power` is its limit for large T."""

    steps: Steps = Field(1000, description="T.")


class WarpedConfig(Config):
    """The cross-entropy rises evenly in u (CDCD), as learnt in training; starts as `power`."""

    bins: Annotated[int, Field(ge=2, le=2000)] = Field(
        100, description="Straight pieces of the map, equally wide in t."
    )
    half_life: Factor = Field(
        100.0, description="Optimizer steps in which an old loss loses half its weight."
    )
    floor: Annotated[float, Field(ge=1e-6, lt=1)] = Field(
        0.05,
        description="Share of u that is spread evenly over t: no time is left out.",
    )
