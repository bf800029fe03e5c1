"""The network that a recipe describes, and the model that a run left behind."""

from addkit.model.build import build_data, build_network, build_task, problem_of
from addkit.model.inference import Inference
from addkit.model.network import Network, ParameterCounts
from addkit.model.predictor import Predictor, load

__all__ = ["Inference", "Network", "ParameterCounts", "Predictor", "build_data", "build_network"]
__all__ += ["build_task", "load", "problem_of"]
