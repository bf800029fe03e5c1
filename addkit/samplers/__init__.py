"""Samplers: how much of the old noise a step carries over.

All of them are one step rule (`addkit.diffusion.chain`) with a share r of carried noise:
r = 0 re-noises (the paper), r = kappa m_t / m_s reaches the true posterior's step at kappa = 1
(ancestral), and r = 1 is the deterministic DDIM.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from addkit.plugin.spec import Config, Problem, SamplerSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Sampler

__all__ = ["AncestralConfig", "DdimConfig", "GibbsConfig", "RenoiseConfig"]


class RenoiseConfig(Config):
    """Forget y_t and noise the clean label afresh (section 3.2)."""

    kappa: float = Field(
        0.0, ge=0, le=1, description="0 is the paper's; 1 is ancestral; between, a mix."
    )


class AncestralConfig(Config):
    """Draw y_s from q(y_s | y_t, y_0): kappa = 1."""


class DdimConfig(Config):
    """Song et al. 2021, equation 12."""

    eta: float = Field(0.0, ge=0, le=1, description="0 is deterministic; 1 is ancestral.")


class GibbsConfig(Config):
    """Draw the label from the prediction, then noise it afresh; it needs no to-one operator."""


def _renoise(config: RenoiseConfig, problem: Problem) -> Sampler:
    from addkit.samplers.kappa import KappaSampler

    return KappaSampler(config.kappa)


def _ancestral(config: AncestralConfig, problem: Problem) -> Sampler:
    from addkit.samplers.kappa import KappaSampler

    return KappaSampler(1.0)


def _ddim(config: DdimConfig, problem: Problem) -> Sampler:
    from addkit.samplers.ddim import DdimSampler

    return DdimSampler(config.eta)


def _gibbs(config: GibbsConfig, problem: Problem) -> Sampler:
    from addkit.samplers.kappa import KappaSampler

    return KappaSampler(0.0, draws=True)


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in samplers."""
    yield SamplerSpec(
        name="renoise", config=RenoiseConfig, build=_renoise, summary="Re-noise (the paper's)."
    )
    yield SamplerSpec(
        name="ddim", config=DdimConfig, build=_ddim, summary="Keep the noise that y_t holds."
    )
    yield SamplerSpec(
        name="ancestral", config=AncestralConfig, build=_ancestral, summary="The true posterior."
    )
    yield SamplerSpec(
        name="gibbs",
        config=GibbsConfig,
        build=_gibbs,
        provides=frozenset({"draws"}),
        summary="Draw a label, then re-noise: chains sample p(k | image).",
    )
