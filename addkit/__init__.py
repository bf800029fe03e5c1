"""Authentic discrete diffusion: train, sample and evaluate diffusion models of one-hot labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.lazy import lazy
from addkit.version import __version__ as __version__

# `as` makes each name public for type checkers, which cannot compute `__all__`.
if TYPE_CHECKING:
    from addkit.api import ScoreReport as ScoreReport
    from addkit.api import evaluate as evaluate
    from addkit.api import train as train
    from addkit.evaluation.results import Evaluation as Evaluation
    from addkit.model.predictor import Predictor as Predictor
    from addkit.model.predictor import load as load
    from addkit.plugin.config import Config as Config
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
    from addkit.recipe import Recipe as Recipe
    from addkit.recipe import read_recipe as read_recipe
    from addkit.runs import Run as Run
    from addkit.tasks.predictions import CaptionPrediction as CaptionPrediction
    from addkit.tasks.predictions import JointPrediction as JointPrediction
    from addkit.tasks.predictions import LabelScore as LabelScore
    from addkit.tasks.predictions import Prediction as Prediction
    from addkit.training.train import TrainResult as TrainResult
    from addkit.training.trainer import Callback as Callback
    from addkit.training.trainer import StepReport as StepReport

_HOMES = {
    "addkit.api": "ScoreReport evaluate train",
    "addkit.evaluation.results": "Evaluation",
    "addkit.model.predictor": "Predictor load",
    "addkit.plugin.config": "Config",
    "addkit.plugin.spec": (
        "CommandSpec ConditionerSpec DataSpec DenoiserSpec EmbeddingSpec EncoderSpec LossSpec "
        "Problem ProcessSpec ReadOutSpec SamplerSpec ScheduleSpec Spec TaskSpec TimestepsSpec "
        "TokenizerSpec ToOneSpec TrackerSpec hookimpl"
    ),
    "addkit.recipe": "Recipe read_recipe",
    "addkit.runs": "Run",
    "addkit.tasks.predictions": "CaptionPrediction JointPrediction LabelScore Prediction",
    "addkit.training.train": "TrainResult",
    "addkit.training.trainer": "Callback StepReport",
}
"""Modules of the public names. Imported on first use: `addkit --help` must not load torch."""

__all__ = sorted(["__version__", *" ".join(_HOMES.values()).split()])

__getattr__ = lazy(__name__, _HOMES)
