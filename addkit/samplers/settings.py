"""Settings of the built-in samplers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from addkit.plugin.config import Chains, Config, Share


class RenoiseConfig(Config):
    """Forget y_t and noise the clean label afresh (section 3.2)."""

    kappa: Share = Field(0.0, description="0 is the paper's; 1 is ancestral; between, a mix.")


class AncestralConfig(Config):
    """Draw y_s from q(y_s | y_t, y_0): kappa = 1."""


class DdimConfig(Config):
    """Song et al. 2021, equation 12."""

    eta: Share = Field(0.0, description="0 is deterministic; 1 is ancestral.")


class GibbsConfig(Config):
    """Draw the label from the prediction, then noise it afresh; the to-one operator is not used."""


class RefineConfig(Config):
    """Start at y_T = 0 and feed the answer back without noise: always the same answer."""


class MaskgitConfig(Config):
    """Settle the surest tokens of each step for good; the others wait."""

    order: Literal["confidence", "random"] = Field(
        "confidence", description="Which tokens settle first."
    )
    others: Literal["noise", "annealed"] = Field(
        "noise", description="Tokens that wait stay at t = T, or follow the time grid."
    )


class LeftToRightConfig(Config):
    """Settle tokens from left to right."""

    others: Literal["noise", "annealed"] = Field(
        "noise", description="Tokens that wait stay at t = T, or follow the time grid."
    )


class BeamConfig(Config):
    """Left to right with the most probable beginnings; for the process `autoregressive`."""

    width: Chains = Field(5, description="Number of beginnings.")
    length_power: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="Rank by log p / length ** length_power; 0 is log p itself."
    )


class WeightedDrawsConfig(Config):
    """Draw answers from left to right and weigh them; for the process `autoregressive`."""

    draws: Chains = Field(64, description="Answers drawn for each image.")
    biased: bool = Field(
        True, description="Draw each label under its own evidence; else weigh by all of it after."
    )


class SurestBeamConfig(Config):
    """Settle labels in the order of their certainty, keeping the most probable partial answers."""

    width: Chains = Field(8, description="Number of partial answers.")


class LeaveOneOutConfig(Config):
    """Read soft evidence as noisy labels, and settle the surest label first."""
