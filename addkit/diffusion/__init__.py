"""The mathematics of label diffusion. It knows labels, times and conditions, and no image."""

from addkit.diffusion.chain import FREE, ChainSettings, chain
from addkit.diffusion.gaussian import GaussianProcess
from addkit.diffusion.guidance import drop_condition, guide
from addkit.diffusion.likelihood import any_order_likelihood
from addkit.diffusion.model import LabelDiffusion, NoisyBatch, State
from addkit.diffusion.objective import ObjectiveSettings, ObjectiveValue, objective
from addkit.diffusion.process import (
    alpha_bar_at,
    corrupt,
    log_likelihood_scale,
    noised,
    signal_to_noise,
)
from addkit.diffusion.randomness import counted_generator, counted_seed
from addkit.diffusion.results import (
    Answer,
    ChainStep,
    Clean,
    Layout,
    NoisyLabels,
    Targets,
)
from addkit.diffusion.theory import (
    bayes_denoiser,
    flip_probability,
    gibbs_accuracy,
    probability_arg_max,
)
from addkit.diffusion.timesteps import TimeSettings, draw_times, time_grid

__all__ = [
    "FREE",
    "GaussianProcess",
    "NoisyBatch",
    "Layout",
    "Targets",
    "TimeSettings",
    "any_order_likelihood",
    "Answer",
    "ChainSettings",
    "ChainStep",
    "Clean",
    "LabelDiffusion",
    "NoisyLabels",
    "ObjectiveSettings",
    "ObjectiveValue",
    "State",
    "alpha_bar_at",
    "bayes_denoiser",
    "chain",
    "corrupt",
    "counted_generator",
    "counted_seed",
    "draw_times",
    "drop_condition",
    "log_likelihood_scale",
    "flip_probability",
    "gibbs_accuracy",
    "guide",
    "noised",
    "objective",
    "probability_arg_max",
    "signal_to_noise",
    "time_grid",
]
