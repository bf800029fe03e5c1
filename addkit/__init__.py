"""Authentic discrete diffusion: train, sample and evaluate diffusion models of one-hot labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.lazy import lazy
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

_HOMES = {
    "addkit.model.predictor": ("Predictor", "load"),
    "addkit.plugin": (
        *(name for name in __all__ if name.endswith("Spec")),
        "Config",
        "Problem",
        "hookimpl",
    ),
    "addkit.recipe": ("Recipe", "read_recipe"),
    "addkit.runs": ("Run",),
    "addkit.tasks.predictions": ("LabelScore", "Prediction"),
    "addkit.training.train": ("train",),
    "addkit.training.trainer": ("Callback",),
}
"""Modules of the public names. Imported on first use: `addkit --help` must not load torch."""

__getattr__ = lazy(__name__, _HOMES)
