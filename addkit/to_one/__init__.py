"""To-one operators: from predicted logits to the clean label that is fed back (figure 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Spec, ToOneSpec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in to-one operators."""
    yield ToOneSpec(
        name="argmax",
        config="addkit.to_one.settings:ArgMaxConfig",
        build="addkit.to_one.argmax:ArgMax",
        summary="arg max + one-hot (paper).",
    )
    yield ToOneSpec(
        name="softmax",
        config="addkit.to_one.settings:SoftmaxConfig",
        build="addkit.to_one.softmax:Softmax",
        summary="Feed back the softmax.",
    )
    yield ToOneSpec(
        name="sample",
        config="addkit.to_one.settings:SampleConfig",
        build="addkit.to_one.sample:Sample",
        summary="Draw a label; temperature, top-p.",
    )
