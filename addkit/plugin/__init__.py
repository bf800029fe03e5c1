"""What a plugin author imports, and the registry of everything that is installed. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.lazy import lazy

# `as` makes each name public for type checkers, which cannot compute `__all__`.
if TYPE_CHECKING:
    from addkit.plugin.config import Config as Config
    from addkit.plugin.loading import Broken as Broken
    from addkit.plugin.loading import Provided as Provided
    from addkit.plugin.registry import Registry as Registry
    from addkit.plugin.registry import UnknownComponent as UnknownComponent
    from addkit.plugin.registry import load_registry as load_registry
    from addkit.plugin.spec import API_VERSION as API_VERSION
    from addkit.plugin.spec import KINDS as KINDS
    from addkit.plugin.spec import Choice as Choice
    from addkit.plugin.spec import Choices as Choices
    from addkit.plugin.spec import CommandSpec as CommandSpec
    from addkit.plugin.spec import ConditionerSpec as ConditionerSpec
    from addkit.plugin.spec import DataSpec as DataSpec
    from addkit.plugin.spec import DenoiserSpec as DenoiserSpec
    from addkit.plugin.spec import EmbeddingSpec as EmbeddingSpec
    from addkit.plugin.spec import EncoderSpec as EncoderSpec
    from addkit.plugin.spec import LossSpec as LossSpec
    from addkit.plugin.spec import Problem as Problem
    from addkit.plugin.spec import ProcessSpec as ProcessSpec
    from addkit.plugin.spec import ReadOutSpec as ReadOutSpec
    from addkit.plugin.spec import SamplerSpec as SamplerSpec
    from addkit.plugin.spec import ScheduleSpec as ScheduleSpec
    from addkit.plugin.spec import Spec as Spec
    from addkit.plugin.spec import TaskSpec as TaskSpec
    from addkit.plugin.spec import TimestepsSpec as TimestepsSpec
    from addkit.plugin.spec import TokenizerSpec as TokenizerSpec
    from addkit.plugin.spec import ToOneSpec as ToOneSpec
    from addkit.plugin.spec import TrackerSpec as TrackerSpec
    from addkit.plugin.spec import hookimpl as hookimpl
    from addkit.plugin.spec import hookspec as hookspec

_HOMES = {
    "addkit.plugin.config": "Config",
    "addkit.plugin.loading": "Broken Provided",
    "addkit.plugin.registry": "Registry UnknownComponent load_registry",
    "addkit.plugin.spec": (
        "API_VERSION KINDS Choice Choices CommandSpec ConditionerSpec DataSpec DenoiserSpec "
        "EmbeddingSpec EncoderSpec LossSpec Problem ProcessSpec ReadOutSpec SamplerSpec "
        "ScheduleSpec Spec TaskSpec TimestepsSpec TokenizerSpec ToOneSpec TrackerSpec hookimpl "
        "hookspec"
    ),
}
"""Modules of the public names. Imported on first use: `Config` loads pydantic, for one."""

__all__ = sorted(" ".join(_HOMES.values()).split())

__getattr__ = lazy(__name__, _HOMES)
