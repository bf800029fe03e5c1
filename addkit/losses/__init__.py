"""Losses: what the network's K outputs stand for, and how they are compared with the label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from addkit.plugin.spec import Choices, Config, LossSpec, Problem, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Loss

__all__ = ["CrossEntropyConfig", "MseConfig", "MseNoiseConfig", "WeightedCrossEntropyConfig"]

NO_SKIP = {"denoiser.bayes_skip": False}


class CrossEntropyConfig(Config):
    """-log p(y_0 | y_t, c), the same weight at every t."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target spread over all classes."
    )


class WeightedCrossEntropyConfig(CrossEntropyConfig):
    """alpha_bar_t times the cross-entropy, the paper's. Leaves t = T untrained."""

    normalise: bool = Field(
        False,
        description="Divide by the mean weight over the schedule's own times (t_power included, "
        "rows at t = T not), so that losses compare at one gradient scale.",
    )


class MseConfig(Config):
    """Squared distance of the outputs to the clean one-hot label, the fair control of the CE."""


class MseNoiseConfig(Config):
    """Squared distance of the outputs to the noise (table 2, row 1). Fails at large K."""


def _weighted(config: WeightedCrossEntropyConfig, problem: Problem) -> Loss:
    from addkit.losses.cross_entropy import WeightedCrossEntropy

    mean_weight = problem.mean_alpha_bar if config.normalise else 1.0
    return WeightedCrossEntropy(config.label_smoothing, mean_weight)


def _not_with_skip(config: Any, choices: Choices) -> Iterable[str]:
    if getattr(choices["denoiser"].config, "bayes_skip", False):
        yield (
            "a squared error predicts no logits, so [denoiser] bayes_skip has nothing to add "
            "its evidence to; set bayes_skip = false or use a cross-entropy"
        )


def _needs_state(config: MseNoiseConfig, choices: Choices) -> Iterable[str]:
    yield from _not_with_skip(config, choices)
    if "reads-state" not in choices["denoiser"].spec.provides:
        yield (
            f'[denoiser] "{choices["denoiser"].name}" ignores the noisy label, '
            "so it cannot predict its noise"
        )
    if choices["read_out"].name == "one-pass":
        yield (
            '[read_out] "one-pass" starts from y_T = 0, which holds no noise to predict; '
            'use read_out.name = "last"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in losses."""
    yield LossSpec(
        name="ce",
        config=CrossEntropyConfig,
        build="addkit.losses.cross_entropy:CrossEntropy",
        summary="Plain cross-entropy.",
    )
    yield LossSpec(
        name="weighted-ce",
        config=WeightedCrossEntropyConfig,
        build=_weighted,
        summary="Timestep-conditioned cross-entropy, weight alpha_bar (the paper's).",
    )
    yield LossSpec(
        name="mse",
        config=MseConfig,
        build="addkit.losses.mse:CleanMse",
        check=_not_with_skip,
        needs=NO_SKIP,
        summary="Squared error of the clean label.",
    )
    yield LossSpec(
        name="mse-noise",
        config=MseNoiseConfig,
        build="addkit.losses.mse:NoiseMse",
        check=_needs_state,
        needs={**NO_SKIP, "read_out.name": "last"},
        summary="Squared error of the noise (the paper's failing row).",
    )
