"""To-one operators: from predicted logits to the clean label that is fed back (figure 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Spec, ToOneSpec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in to-one operators."""
    yield ToOneSpec(
        "argmax", ".settings:ArgMaxConfig", ".operators:ArgMax", "arg max + one-hot (paper)."
    )
    yield ToOneSpec(
        "softmax", ".settings:SoftmaxConfig", ".operators:Softmax", "Feed back the softmax."
    )
    yield ToOneSpec(
        "sample", ".settings:SampleConfig", ".operators:Sample", "Draw a label; temperature, top-p."
    )
