"""The mathematics of label diffusion. It knows labels, times and conditions, and no image."""

from addkit.diffusion.chain import ChainSettings, chain
from addkit.diffusion.guidance import drop_condition, guide
from addkit.diffusion.model import LabelDiffusion, State
from addkit.diffusion.objective import ObjectiveSettings, ObjectiveValue, objective
from addkit.diffusion.process import alpha_bar_at, corrupt, evidence, noised, signal_to_noise
from addkit.diffusion.randomness import counted_generator, counted_seed
from addkit.diffusion.results import Answer, ChainStep, Clean, NoisyLabels
from addkit.diffusion.theory import (
    bayes_denoiser,
    flip_probability,
    gibbs_accuracy,
    probability_arg_max,
)
from addkit.diffusion.times import draw_times, time_grid

__all__ = [
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
    "evidence",
    "flip_probability",
    "gibbs_accuracy",
    "guide",
    "noised",
    "objective",
    "probability_arg_max",
    "signal_to_noise",
    "time_grid",
]
