"""The mathematics of label diffusion: labels, times and conditions, and no image."""

from addkit.diffusion.exact import (
    bayes_denoiser,
    flip_probability,
    gibbs_accuracy,
    probability_arg_max,
)
from addkit.diffusion.likelihood import any_order_likelihood
from addkit.diffusion.model import LabelDiffusion
from addkit.diffusion.noise import (
    alpha_bar_at,
    corrupt,
    draw_times,
    log_likelihood_scale,
    noised,
    signal_to_noise,
    time_grid,
)
from addkit.diffusion.objective import ObjectiveSettings, ObjectiveValue, drop_condition, objective
from addkit.diffusion.randomness import counted_generator, counted_seed, draw_labels
from addkit.plugin.values import (
    FORBIDDEN,
    FREE,
    Answer,
    ChainSettings,
    ChainStep,
    Clean,
    Layout,
    NoisyBatch,
    NoisyLabels,
    State,
    Targets,
    TimedLosses,
    TimeSettings,
)

__all__ = ["FORBIDDEN", "FREE", "Answer", "ChainSettings", "ChainStep", "Clean"]
__all__ += ["LabelDiffusion", "Layout", "NoisyBatch", "NoisyLabels", "ObjectiveSettings"]
__all__ += ["ObjectiveValue", "State", "Targets", "TimeSettings", "TimedLosses", "alpha_bar_at"]
__all__ += ["any_order_likelihood", "bayes_denoiser", "corrupt", "counted_generator"]
__all__ += ["counted_seed", "draw_labels", "draw_times", "drop_condition", "flip_probability"]
__all__ += ["gibbs_accuracy", "log_likelihood_scale", "noised", "objective"]
__all__ += ["probability_arg_max", "signal_to_noise", "time_grid"]
