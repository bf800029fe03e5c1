"""Encoders: z = E(x), tokens that describe the image (section 3.3)."""

from __future__ import annotations

from addkit.plugin.spec import EncoderSpec, components

addkit_components = components(
    EncoderSpec(
        "vit",
        ".settings:VitConfig",
        ".timm:VitEncoder",
        "A timm vision transformer.",
        provides=frozenset({"class-token"}),
    ),
    EncoderSpec("timm", ".settings:TimmConfig", ".timm:TimmEncoder", "Any timm backbone."),
    EncoderSpec("cnn", ".settings:CnnConfig", ".cnn:CnnEncoder", "A small CNN."),
)
