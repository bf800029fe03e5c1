"""What a plugin author imports, and the registry of everything that is installed. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addkit.plugin.loading import Broken, Provided
from addkit.plugin.registry import Registry, UnknownComponent, load_registry
from addkit.plugin.spec import (
    API_VERSION,
    KINDS,
    Choice,
    Choices,
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

__all__ = [
    "API_VERSION",
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
    "ProcessSpec",
    "ReadOutSpec",
    "Registry",
    "SamplerSpec",
    "ScheduleSpec",
    "Spec",
    "TaskSpec",
    "TimestepsSpec",
    "TokenizerSpec",
    "ToOneSpec",
    "TrackerSpec",
    "UnknownComponent",
    "hookimpl",
    "hookspec",
    "load_registry",
]


def __getattr__(name: str) -> Any:
    """Import `Config` on first use: it loads pydantic, which listing components does without."""
    if name == "Config":
        from addkit.plugin.config import Config

        return Config
    raise AttributeError(f"module 'addkit.plugin' has no attribute {name!r}")
