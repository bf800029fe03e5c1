"""What a plugin author imports, and the registry of everything that is installed. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from addkit.plugin.config import (
        Config,
    )
    from addkit.plugin.loading import (
        Broken,
        Provided,
    )
    from addkit.plugin.registry import (
        Registry,
        UnknownComponent,
        load_registry,
    )
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

_HOMES = {
    "addkit.plugin.config": ("Config",),
    "addkit.plugin.loading": ("Broken", "Provided"),
    "addkit.plugin.registry": ("Registry", "UnknownComponent", "load_registry"),
    "addkit.plugin.spec": (
        "API_VERSION",
        "KINDS",
        "Choice",
        "Choices",
        "CommandSpec",
        "ConditionerSpec",
        "DataSpec",
        "DenoiserSpec",
        "EmbeddingSpec",
        "EncoderSpec",
        "LossSpec",
        "Problem",
        "ProcessSpec",
        "ReadOutSpec",
        "SamplerSpec",
        "ScheduleSpec",
        "Spec",
        "TaskSpec",
        "TimestepsSpec",
        "TokenizerSpec",
        "ToOneSpec",
        "TrackerSpec",
        "hookimpl",
        "hookspec",
    ),
}
"""Where each public name is defined. Imported on first use: `Config` loads pydantic, for one."""

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


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(home), name)
    from addkit.renamed import refuse_old_name

    refuse_old_name("addkit.plugin", name)
    raise AttributeError(f"module 'addkit.plugin' has no attribute {name!r}")
