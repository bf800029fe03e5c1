"""The network that a recipe describes, and the model that a run left behind."""

from addkit.model.build import build_data, build_network, build_task, fetch_weights, problem_of
from addkit.model.encoder_input import InputPlan, with_encoder_input
from addkit.model.inference import Inference
from addkit.model.network import Network, ParameterCounts
from addkit.model.predictor import Predictor, load

__all__ = ["Inference", "InputPlan", "Network", "ParameterCounts", "Predictor", "build_data"]
__all__ += ["build_network", "build_task", "fetch_weights", "load", "problem_of"]
__all__ += ["with_encoder_input"]
