"""To-one operators: from predicted logits to the clean label that is fed back (figure 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from addkit.plugin.spec import Config, Problem, Spec, ToOneSpec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import ToOne

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


def _arg_max(config: ArgMaxConfig, problem: Problem) -> ToOne:
    from addkit.to_one.argmax import ArgMax

    return ArgMax()


def _softmax(config: SoftmaxConfig, problem: Problem) -> ToOne:
    from addkit.to_one.softmax import Softmax

    return Softmax(config.temperature)


def _sample(config: SampleConfig, problem: Problem) -> ToOne:
    from addkit.to_one.sample import Sample

    return Sample(config.temperature, config.top_p)


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in to-one operators."""
    yield ToOneSpec(
        name="argmax", config=ArgMaxConfig, build=_arg_max, summary="arg max + one-hot (paper)."
    )
    yield ToOneSpec(
        name="softmax", config=SoftmaxConfig, build=_softmax, summary="Feed back the softmax."
    )
    yield ToOneSpec(
        name="sample", config=SampleConfig, build=_sample, summary="Draw; temperature, top-p."
    )
