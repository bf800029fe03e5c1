"""Settings of the built-in timesteps: what their tables in a recipe may say."""

from __future__ import annotations

from pydantic import Field

from addkit.plugin.config import Config


class PowerConfig(Config):
    """t = u ** schedule.t_power from the first step to the last; 1 is the paper's uniform t."""


class DiscreteConfig(Config):
    """t is one of T steps, as the paper prints it; `power` is its limit for large T."""

    steps: int = Field(1000, ge=1, le=10**6, description="T.")


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
