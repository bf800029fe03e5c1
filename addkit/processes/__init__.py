"""Processes: what hides the labels from the network, and how they are found again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Choices, ProcessSpec, Spec, hookimpl

OWN_TIMES = frozenset({"token-times"})
"""Of a process that reads `training.token_times` and `training.rollout`."""


def _fits(config: Any, choices: Choices) -> Iterable[str]:
    """The sampler can walk this process."""
    spec: Any = choices["process"].spec
    sampler = choices["sampler"]
    if not spec.accepts & sampler.spec.provides:
        yield (
            f'[sampler] "{sampler.name}" cannot walk the process "{spec.name}", which takes '
            f"samplers that are {' or '.join(sorted(spec.accepts))}"
        )


def _joint(config: Any, choices: Choices) -> Iterable[str]:
    yield from _fits(config, choices)
    denoiser = choices["denoiser"]
    if "joint" not in denoiser.spec.provides:
        yield f'[denoiser] "{denoiser.name}" sees no token but its own; use "transformer"'
    if getattr(denoiser.config, "bayes_skip", False):
        yield "[denoiser] bayes_skip needs Gaussian noise on every token; set it to false"
    if choices["loss"].name != "ce":
        yield f'[loss] "{choices["loss"].name}" needs Gaussian noise on every token; use "ce"'


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in processes."""
    yield ProcessSpec(
        name="gaussian",
        model_name="ADD",
        config="addkit.processes.settings:GaussianConfig",
        build="addkit.diffusion.gaussian:GaussianProcess",
        check=_fits,
        provides=OWN_TIMES,
        summary="Gaussian noise on one-hot labels (the paper's).",
    )
    yield ProcessSpec(
        name="masked",
        model_name="masked diffusion",
        config="addkit.processes.settings:MaskedConfig",
        build="addkit.processes.masked:MaskedProcess",
        check=_joint,
        accepts=frozenset({"ordered"}),
        summary="Masked diffusion (the paper's PDD).",
    )
    yield ProcessSpec(
        name="autoregressive",
        model_name="autoregression",
        config="addkit.processes.settings:AutoregressiveConfig",
        build="addkit.processes.autoregressive:AutoregressiveProcess",
        check=_joint,
        accepts=frozenset({"left-to-right"}),
        summary="Token by token, greedy, sampled or by beam search.",
    )
    yield ProcessSpec(
        name="blocks",
        model_name="block diffusion",
        config="addkit.processes.settings:BlocksConfig",
        build="addkit.processes.blocks:BlocksProcess",
        check=_joint,
        provides=OWN_TIMES,
        summary="Blocks from left to right, diffusion within each.",
    )
