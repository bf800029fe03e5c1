"""Encoders: z = E(x), tokens that describe the image (section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import EncoderSpec, Spec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in encoders."""
    yield EncoderSpec(
        name="vit",
        config="addkit.encoders.settings:VitConfig",
        build="addkit.encoders.vit:VitEncoder",
        provides=frozenset({"class-token"}),
        summary="A timm vision transformer.",
    )
    yield EncoderSpec(
        name="timm",
        config="addkit.encoders.settings:TimmConfig",
        build="addkit.encoders.timm:TimmEncoder",
        summary="Any timm backbone.",
    )
    yield EncoderSpec(
        name="cnn",
        config="addkit.encoders.settings:CnnConfig",
        build="addkit.encoders.cnn:CnnEncoder",
        summary="A small CNN.",
    )
