"""Losses: what the network's K outputs stand for, and how they are compared with the label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, LossSpec, Problem, components

if TYPE_CHECKING:
    from addkit.losses.settings import MseNoiseConfig, WeightedCrossEntropyConfig
    from addkit.plugin.protocols import Loss


# What an ablation sets with a squared error, whose outputs are no logits.
NO_SKIP = {"denoiser.bayes_skip": False}


def _weighted(config: WeightedCrossEntropyConfig, problem: Problem) -> Loss:
    from addkit.losses.cross_entropy import WeightedCrossEntropy

    # E_t[alpha_bar] is a fact of the schedule and the rows, which the loss does not see.
    mean_weight = problem.mean_alpha_bar if config.normalise else 1.0
    return WeightedCrossEntropy(
        config.label_smoothing, mean_weight, config.class_weights, problem.class_counts
    )


def _needs_tags(config: Any, choices: Choices) -> Iterable[str]:
    data = choices["data"]
    if "tags" not in data.spec.provides:
        yield f'[data] "{data.name}" has no tags, whose present and absent ones it tells apart'
    yield from _not_with_skip(config, choices)


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


addkit_components = components(
    LossSpec(
        "ce",
        ".settings:CrossEntropyConfig",
        ".cross_entropy:CrossEntropy",
        "Plain cross-entropy.",
        provides=frozenset({"rises-with-t"}),
    ),
    LossSpec(
        "weighted-ce",
        ".settings:WeightedCrossEntropyConfig",
        _weighted,
        "Timestep-conditioned cross-entropy, weight alpha_bar (the paper's).",
        check=_needs_levels,
    ),
    LossSpec(
        "asymmetric",
        ".settings:AsymmetricConfig",
        ".asymmetric:Asymmetric",
        "Focal weights that are stronger for absent tags (ASL).",
        check=_needs_tags,
        needs=NO_SKIP,
    ),
    LossSpec(
        "mse",
        ".settings:MseConfig",
        ".mse:CleanMse",
        "Squared error of the clean label.",
        check=_not_with_skip,
        needs=NO_SKIP,
    ),
    LossSpec(
        "mse-noise",
        ".settings:MseNoiseConfig",
        ".mse:NoiseMse",
        "Squared error of the noise (the paper's failing row).",
        check=_needs_state,
        needs={**NO_SKIP, "read_out.name": "last"},
    ),
)
