"""Encoders: z = E(x), tokens that describe the image (section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import EncoderSpec, Spec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in encoders."""
    yield EncoderSpec(
        "vit",
        ".settings:VitConfig",
        ".timm:VitEncoder",
        "A timm vision transformer.",
        provides=frozenset({"class-token"}),
    )
    yield EncoderSpec("timm", ".settings:TimmConfig", ".timm:TimmEncoder", "Any timm backbone.")
    yield EncoderSpec("cnn", ".settings:CnnConfig", ".cnn:CnnEncoder", "A small CNN.")
