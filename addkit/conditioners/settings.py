"""Settings of the built-in conditioners."""

from __future__ import annotations

from pydantic import Field

from addkit.plugin.config import Config, Factor, Width


class ConditionerConfig(Config):
    """Settings of every built-in conditioner."""

    width: Width | None = Field(
        None, description="Project the condition to this width; absent: the encoder's."
    )
    norm: Factor | None = Field(
        None, description="Scale each token to this L2 norm; absent: as the encoder gives it."
    )


class ClassTokenConfig(ConditionerConfig):
    """c = z_cls, the encoder's class token after its last layer (section 3.3)."""


class ClassTokensConfig(ConditionerConfig):
    """The learned tokens before the image's (figure 2b), as many as `encoder.class_tokens`."""


class MeanTokenConfig(ConditionerConfig):
    """c = mean(z_1, ..., z_L), the average of the encoder's other tokens (section 3.3)."""


class AllTokensConfig(ConditionerConfig):
    """Every encoder token."""
