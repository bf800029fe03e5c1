"""Processes: what hides the labels from the network, and how they are found again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from addkit.plugin.spec import Choices, Config, ProcessSpec, Spec, hookimpl

__all__ = ["AutoregressiveConfig", "BlocksConfig", "GaussianConfig", "MaskedConfig"]

OWN_TIMES = frozenset({"token-times"})
"""Of a process that reads `training.token_times` and `training.rollout`."""


class GaussianConfig(Config):
    """Gaussian noise on the one-hot label, the paper's."""


class MaskedConfig(Config):
    """Absorbing ("masked") diffusion, the paper's PDD: a token is what it is, or a mask."""

    weight: Literal["none", "1/t"] = Field(
        "none",
        description="Plain cross-entropy on masked tokens (MaskGIT, LLaDA's code), or MDLM's 1/t.",
    )


class AutoregressiveConfig(Config):
    """Each token from those before it, in order."""


class BlocksConfig(Config):
    """Blocks from left to right, Gaussian noise within one; a block of 1 is autoregression."""

    block: int = Field(4, ge=1, description="Tokens that are denoised together.")


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
        config=GaussianConfig,
        build="addkit.diffusion.gaussian:GaussianProcess",
        check=_fits,
        provides=OWN_TIMES,
        summary="Gaussian noise on one-hot labels (the paper's).",
    )
    yield ProcessSpec(
        name="masked",
        model_name="masked diffusion",
        config=MaskedConfig,
        build="addkit.processes.masked:MaskedProcess",
        check=_joint,
        accepts=frozenset({"ordered"}),
        summary="Masked diffusion (the paper's PDD).",
    )
    yield ProcessSpec(
        name="autoregressive",
        model_name="autoregression",
        config=AutoregressiveConfig,
        build="addkit.processes.autoregressive:AutoregressiveProcess",
        check=_joint,
        accepts=frozenset({"left-to-right"}),
        summary="Token by token, greedy, sampled or by beam search.",
    )
    yield ProcessSpec(
        name="blocks",
        model_name="block diffusion",
        config=BlocksConfig,
        build="addkit.processes.blocks:BlocksProcess",
        check=_joint,
        provides=OWN_TIMES,
        summary="Blocks from left to right, diffusion within each.",
    )
