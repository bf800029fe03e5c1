"""Settings of the built-in to-one, the keys of their tables in a recipe."""

from __future__ import annotations

from pydantic import Field

from addkit.plugin.config import Config


class ArgMaxConfig(Config):
    """onehot(arg max), the paper's."""


class SoftmaxConfig(Config):
    """The distribution itself (table 2, "sampling with softmax")."""

    temperature: float = Field(1.0, gt=0, description="Divides the logits.")


class SampleConfig(Config):
    """One label drawn from the distribution."""

    temperature: float = Field(1.0, gt=0, description="Divides the logits; below 1 is greedier.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw only from the fewest classes that have this share."
    )
