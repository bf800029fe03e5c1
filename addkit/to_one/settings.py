"""Settings of the built-in to-one operators."""

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

    # Not 0, which would be argmax: one name for one operator.
    temperature: float = Field(1.0, gt=0, description="Divides the logits; below 1 is greedier.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw from the fewest classes of this total probability."
    )
