"""Settings of the built-in to-one operators."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from addkit.plugin.config import Config, Factor


class ArgMaxConfig(Config):
    """onehot(arg max), the paper's."""


class SoftmaxConfig(Config):
    """The distribution itself (table 2, "sampling with softmax")."""

    temperature: Factor = Field(1.0, description="Divides the logits.")


class SampleConfig(Config):
    """One label drawn from the distribution."""

    # Not 0, which would be argmax: one name for one operator.
    temperature: Factor = Field(1.0, description="Divides the logits; below 1 is greedier.")
    top_p: Annotated[float, Field(ge=1e-6, le=1)] = Field(
        1.0, description="Draw from the fewest classes of this total probability."
    )
