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


def _needs_levels(config: Any, choices: Choices) -> Iterable[str]:
    process = choices["process"]
    if "noise-levels" not in process.spec.provides:
        yield (
            f'[process] "{process.name}" does not provide "noise-levels": tokens to be predicted '
            "have alpha_bar = 0, and so weight 0; use a loss that does not depend on alpha_bar"
        )


def _not_with_skip(config: Any, choices: Choices) -> Iterable[str]:
    if getattr(choices["denoiser"].config, "bayes_skip", False):
        yield (
            "a squared error predicts no logits to which [denoiser] bayes_skip could add a "
            "log-likelihood; set bayes_skip = false or use a cross-entropy"
        )


def _needs_state(config: MseNoiseConfig, choices: Choices) -> Iterable[str]:
    yield from _not_with_skip(config, choices)
    denoiser, process = choices["denoiser"], choices["process"]
    if "reads-state" not in denoiser.spec.provides:
        yield (
            f'[denoiser] "{denoiser.name}" ignores the noisy label, so it cannot predict its noise'
        )
    if "noisy-state" not in process.spec.provides:
        yield (
            f'[process] "{process.name}" does not provide "noisy-state": it leaves no Gaussian '
            "noise on every token to predict"
        )
    if "one-pass" in choices["read_out"].spec.provides:
        yield (
            f'[read_out] "{choices["read_out"].name}" starts from y_T = 0, which has no noise to '
            'predict; use read_out.name = "last"'
        )


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in losses."""
    yield LossSpec(
        name="ce",
        config=CrossEntropyConfig,
        build="addkit.losses.cross_entropy:CrossEntropy",
        provides=frozenset({"rises-with-t"}),
        summary="Plain cross-entropy.",
    )
    yield LossSpec(
        name="weighted-ce",
        config=WeightedCrossEntropyConfig,
        build=_weighted,
        check=_needs_levels,
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
