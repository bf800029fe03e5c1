"""Settings of the built-in losses: what their tables in a recipe may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from addkit.plugin.config import Chance, Config

Focus = Annotated[float, Field(ge=0, le=100)]
ClassWeights = Literal["none", "balanced"] | Annotated[float, Field(ge=0, le=1)]


class CrossEntropyConfig(Config):
    """-log p(y_0 | y_t, c), the same weight at every t."""

    label_smoothing: Chance = Field(0.0, description="Share of the target spread over all classes.")
    class_weights: ClassWeights = Field(
        "none",
        description="Weight of a label whose class has n training images, n^-gamma with mean 1: "
        "gamma, or balanced (1).",
    )


class WeightedCrossEntropyConfig(CrossEntropyConfig):
    """alpha_bar_t times the cross-entropy, the paper's. Leaves t = T untrained."""

    normalise: bool = Field(
        False,
        description="Divide by the mean weight over the schedule's own times (t_power included, "
        "rows at t = T not), so that losses compare at one gradient scale.",
    )


class AsymmetricConfig(Config):
    """Easy absent tags count less (Ridnik et al. 2021); an asymmetric focal cross-entropy."""

    # Their values for MS COCO.
    positive_focus: Focus = Field(0.0, description="gamma+: weight (1 - p)^gamma+ if present.")
    negative_focus: Focus = Field(4.0, description="gamma-: weight p_m^gamma- if absent.")
    margin: Chance = Field(
        0.05, description="m: p_m = max(p - m, 0); absent tags below it have no loss."
    )


class MseConfig(Config):
    """Squared distance of the outputs to the clean one-hot label, the fair control of the CE."""


class MseNoiseConfig(Config):
    """Squared distance of the outputs to the noise (table 2, row 1). Fails at large K."""
