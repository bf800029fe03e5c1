"""What a plugin author imports, and the registry of everything that is installed. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.lazy import lazy
from addkit.plugin.spec import (
    API_VERSION,
    KINDS,
    Choice,
    Choices,
    CommandSpec,
    ConditionerSpec,
    DataSpec,
    DenoiserSpec,
    EmbeddingSpec,
    EncoderSpec,
    LossSpec,
    Problem,
    ProcessSpec,
    ReadOutSpec,
    SamplerSpec,
    ScheduleSpec,
    Spec,
    TaskSpec,
    TimestepsSpec,
    TokenizerSpec,
    ToOneSpec,
    TrackerSpec,
    hookimpl,
    hookspec,
)

if TYPE_CHECKING:
    from addkit.plugin.config import Config
    from addkit.plugin.loading import Broken, Provided
    from addkit.plugin.registry import Registry, UnknownComponent, load_registry

_HOMES = {
    "addkit.plugin.config": ("Config",),
    "addkit.plugin.loading": ("Broken", "Provided"),
    "addkit.plugin.registry": ("Registry", "UnknownComponent", "load_registry"),
}
"""Modules of names that are imported on first use: `Config` loads pydantic, for one."""

__all__ = [
    "API_VERSION",
    "Broken",
    "Choice",
    "Choices",
    "CommandSpec",
    "ConditionerSpec",
    "Config",
    "DataSpec",
    "DenoiserSpec",
    "EmbeddingSpec",
    "EncoderSpec",
    "KINDS",
    "LossSpec",
    "Problem",
    "ProcessSpec",
    "Provided",
    "ReadOutSpec",
    "Registry",
    "SamplerSpec",
    "ScheduleSpec",
    "Spec",
    "TaskSpec",
    "TimestepsSpec",
    "ToOneSpec",
    "TokenizerSpec",
    "TrackerSpec",
    "UnknownComponent",
    "hookimpl",
    "hookspec",
    "load_registry",
]

__getattr__ = lazy(__name__, _HOMES)
