"""To-one operators: from predicted logits to the clean label that is fed back (figure 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from addkit.plugin.spec import Config, Spec, ToOneSpec, hookimpl

__all__ = ["ArgMaxConfig", "SampleConfig", "SoftmaxConfig"]


class ArgMaxConfig(Config):
    """onehot(arg max), the paper's."""


class SoftmaxConfig(Config):
    """The distribution itself (table 2, "sampling with softmax")."""

    temperature: float = Field(1.0, gt=0, description="Divides the logits.")


class SampleConfig(Config):
    """One label drawn from the distribution."""

    temperature: float = Field(1.0, gt=0, description="Divides the logits; below 1 is greedier.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw only from the fewest classes that hold this share."
    )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in to-one operators."""
    yield ToOneSpec(
        name="argmax",
        config=ArgMaxConfig,
        build="addkit.to_one.argmax:ArgMax",
        summary="arg max + one-hot (paper).",
    )
    yield ToOneSpec(
        name="softmax",
        config=SoftmaxConfig,
        build="addkit.to_one.softmax:Softmax",
        summary="Feed back the softmax.",
    )
    yield ToOneSpec(
        name="sample",
        config=SampleConfig,
        build="addkit.to_one.sample:Sample",
        summary="Draw; temperature, top-p.",
    )
