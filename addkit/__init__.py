"""Authentic discrete diffusion: train, sample and evaluate diffusion models of one-hot labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addkit.version import __version__

if TYPE_CHECKING:
    from addkit.model.predictor import Predictor, load
    from addkit.plugin.config import Config
    from addkit.plugin.spec import (
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
    )
    from addkit.recipe import Recipe, read_recipe
    from addkit.runs import Run
    from addkit.tasks.predictions import LabelScore, Prediction
    from addkit.training.train import train
    from addkit.training.trainer import Callback

_HOMES = {
    "addkit.model.predictor": ("Predictor", "load"),
    "addkit.plugin.config": ("Config",),
    "addkit.plugin.spec": (
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
    ),
    "addkit.recipe": ("Recipe", "read_recipe"),
    "addkit.runs": ("Run",),
    "addkit.tasks.predictions": ("LabelScore", "Prediction"),
    "addkit.training.train": ("train",),
    "addkit.training.trainer": ("Callback",),
}
"""Where each public name lives. Loaded on first use: `addkit --help` must not load torch."""

__all__ = [
    "Callback",
    "CommandSpec",
    "Config",
    "ConditionerSpec",
    "DataSpec",
    "DenoiserSpec",
    "EmbeddingSpec",
    "EncoderSpec",
    "LabelScore",
    "LossSpec",
    "Prediction",
    "Predictor",
    "Problem",
    "ProcessSpec",
    "ReadOutSpec",
    "Recipe",
    "Run",
    "SamplerSpec",
    "ScheduleSpec",
    "Spec",
    "TaskSpec",
    "TimestepsSpec",
    "TokenizerSpec",
    "ToOneSpec",
    "TrackerSpec",
    "__version__",
    "hookimpl",
    "load",
    "read_recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(home), name)
    from addkit.renamed import refuse_old_name

    refuse_old_name("addkit", name)
    raise AttributeError(f"module 'addkit' has no attribute {name!r}")
