"""What a plugin author imports, and the registry of everything that is installed. No torch."""

from __future__ import annotations

from addkit.plugin.registry import (
    Broken,
    Provided,
    Registry,
    UnknownComponent,
    load_registry,
)
from addkit.plugin.spec import (
    KINDS,
    Choice,
    Choices,
    ConditionerSpec,
    Config,
    DataSpec,
    DenoiserSpec,
    EmbeddingSpec,
    EncoderSpec,
    LossSpec,
    Problem,
    ReadOutSpec,
    SamplerSpec,
    ScheduleSpec,
    Spec,
    TaskSpec,
    ToOneSpec,
    hookimpl,
    hookspec,
)

__all__ = [
    "KINDS",
    "Broken",
    "Choice",
    "Choices",
    "ConditionerSpec",
    "Config",
    "DataSpec",
    "DenoiserSpec",
    "EmbeddingSpec",
    "EncoderSpec",
    "LossSpec",
    "Problem",
    "Provided",
    "ReadOutSpec",
    "Registry",
    "SamplerSpec",
    "ScheduleSpec",
    "Spec",
    "TaskSpec",
    "ToOneSpec",
    "UnknownComponent",
    "hookimpl",
    "hookspec",
    "load_registry",
]
