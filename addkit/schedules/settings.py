"""Settings of the built-in schedules: what their tables in a recipe may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from addkit.plugin.config import Config, Factor, Number


class ScheduleConfig(Config):
    """What every schedule has."""

    scale: Factor = Field(
        1.0, description="b, height of the hot entry. 1 in the paper; more b is less noise."
    )
    t_power: Annotated[float, Field(ge=0.01, le=100)] = Field(
        1.0, description="Training times are u ** t_power; below 1 favours noise."
    )


class LinearConfig(ScheduleConfig):
    """Ho et al. 2020: beta rises linearly from beta_min to beta_max."""

    beta_min: Factor = Field(0.1, description="1e-4 for each of 1,000 steps.")
    beta_max: Factor = Field(20.0, description="0.02 for each of 1,000 steps.")


class CosineConfig(ScheduleConfig):
    """Nichol and Dhariwal 2021, equation 17."""

    offset: Annotated[float, Field(ge=1e-6, lt=1)] = Field(
        0.008, description="s, keeps the noise near t = 0 alive."
    )


class SigmoidConfig(ScheduleConfig):
    """Chen 2023 (arXiv 2301.10972), algorithm 1."""

    start: Number = Field(-3.0, description="Argument of the sigmoid at t = 0.")
    end: Number = Field(3.0, description="Argument at t = 1.")
    tau: Factor = Field(1.0, description="Temperature: smaller is steeper.")

    @model_validator(mode="after")
    def rises(self) -> SigmoidConfig:
        """The sigmoid must turn signal into noise, not the other way."""
        if self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be above start ({self.start})")
        return self


class LabelAccuracyConfig(ScheduleConfig):
    """P(arg max y_t is the true label) falls evenly from 1 to 1/K, whatever K is."""
