"""Processes: how training corrupts labels, and the likelihood that this makes exact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Choices, ProcessSpec, components

# Abilities, which other components ask for in place of a process's name.
LEVELS = frozenset({"token-times", "noise-levels"})
CLEAN_OR_NOISE = frozenset({"clean-or-noise"})


def _accepts_sampler(config: Any, choices: Choices) -> Iterable[str]:
    """Objections to a sampler that cannot walk the process."""
    spec: Any = choices["process"].spec
    # One ability in common suffices: `accepts` lists alternatives.
    sampler = choices["sampler"]
    if not spec.accepts & sampler.spec.provides:
        yield (
            f'[sampler] "{sampler.name}" cannot walk the process "{spec.name}", which takes '
            f"samplers that are {' or '.join(sorted(spec.accepts))}"
        )


def _needs_joint(config: Any, choices: Choices) -> Iterable[str]:
    """Objections to a denoiser whose tokens do not see each other, or that needs y_t."""
    yield from _accepts_sampler(config, choices)
    denoiser = choices["denoiser"]
    if "joint" not in denoiser.spec.provides:
        yield (
            f'[denoiser] "{denoiser.name}" does not provide "joint": its tokens do not see each '
            'other; use "transformer"'
        )
    # The skip adds c_t y_t, the log-likelihood under Gaussian noise; a mask or a clean token read
    # in another place has none.
    if getattr(denoiser.config, "bayes_skip", False):
        yield "[denoiser] bayes_skip needs Gaussian noise on every token; set it to false"


addkit_components = components(
    ProcessSpec(
        "gaussian",
        ".settings:GaussianConfig",
        ".gaussian:GaussianProcess",
        "Gaussian noise on one-hot labels (the paper's).",
        model_name="ADD",
        check=_accepts_sampler,
        provides=LEVELS | {"noisy-state"},
        evidence_sampler={"name": "leave-one-out"},
    ),
    ProcessSpec(
        "masked",
        ".settings:MaskedConfig",
        ".masked:MaskedProcess",
        "Masked diffusion (the paper's PDD).",
        model_name="masked diffusion",
        check=_needs_joint,
        provides=CLEAN_OR_NOISE,
        accepts=frozenset({"ordered"}),
        evidence_sampler={"name": "surest-beam"},
    ),
    ProcessSpec(
        "autoregressive",
        ".settings:AutoregressiveConfig",
        ".autoregressive:AutoregressiveProcess",
        "Token by token, greedy, sampled or by beam search.",
        model_name="autoregression",
        check=_needs_joint,
        provides=CLEAN_OR_NOISE,
        accepts=frozenset({"left-to-right"}),
        evidence_sampler={"name": "beam", "width": 16},
    ),
    ProcessSpec(
        "blocks",
        ".settings:BlocksConfig",
        ".blocks:BlocksProcess",
        "Blocks from left to right, diffusion within each.",
        model_name="block diffusion",
        check=_needs_joint,
        provides=LEVELS,
    ),
)
