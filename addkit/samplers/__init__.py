"""Samplers: what the network reads at the next step, given what it predicts at this one.

Where tokens share one time, a step keeps a share r of the old noise: r = 0 re-noises (the paper),
r = kappa m_t / m_s reaches the true posterior's step at kappa = 1 (ancestral), and r = 1 is the
deterministic DDIM. The others settle tokens one after the other. Each owns its steps; the loop is
`addkit.sampling.loop`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from addkit.plugin.spec import Choices, Config, Problem, SamplerSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Sampler

__all__ = [
    "AncestralConfig",
    "BeamConfig",
    "DdimConfig",
    "GibbsConfig",
    "LeftToRightConfig",
    "MaskgitConfig",
    "RefineConfig",
    "RenoiseConfig",
]

SHARED = frozenset({"shared-time"})
ORDERED = frozenset({"ordered"})
LEFT_TO_RIGHT = frozenset({"left-to-right"})


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
    """Draw the label from the prediction, then noise it afresh; the to-one operator is not used."""


class RefineConfig(Config):
    """Start at y_T = 0 and feed the answer back without noise: always the same answer."""


class MaskgitConfig(Config):
    """Settle the surest tokens of each step for good; the others wait."""

    order: Literal["confidence", "random"] = Field(
        "confidence", description="Which tokens settle first."
    )
    others: Literal["noise", "annealed"] = Field(
        "noise", description="Tokens that wait stay at t = T, or follow the time grid."
    )


class LeftToRightConfig(Config):
    """Settle tokens from left to right."""

    others: Literal["noise", "annealed"] = Field(
        "noise", description="Tokens that wait stay at t = T, or follow the time grid."
    )


class BeamConfig(Config):
    """Left to right, keeping several beginnings; for the process `autoregressive`."""

    width: int = Field(5, ge=1, description="Beginnings kept.")
    length_power: float = Field(
        0.0, ge=0, description="Rank by log p / length ** length_power; 0 is log p itself."
    )


def _annealed_needs_levels(
    config: MaskgitConfig | LeftToRightConfig, choices: Choices
) -> Iterable[str]:
    if config.others == "annealed" and "noise-levels" not in choices["process"].spec.provides:
        yield (
            'others = "annealed" needs a process that provides "noise-levels"; use others = "noise"'
        )


def _renoise(config: RenoiseConfig, problem: Problem) -> Sampler:
    from addkit.samplers.carry import Kappa
    from addkit.samplers.renoise import Renoise

    # Without carried noise y_t need not be kept, which no K-wide draw then pays for.
    return Kappa(config.kappa) if config.kappa else Renoise()


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in samplers."""
    yield SamplerSpec(
        name="renoise",
        config=RenoiseConfig,
        build=_renoise,
        provides=SHARED,
        summary="Re-noise (the paper's).",
    )
    yield SamplerSpec(
        name="ddim",
        config=DdimConfig,
        build="addkit.samplers.carry:Ddim",
        provides=SHARED,
        summary="Keep the noise that is in y_t.",
    )
    yield SamplerSpec(
        name="ancestral",
        config=AncestralConfig,
        build="addkit.samplers.carry:Ancestral",
        provides=SHARED,
        summary="The true posterior.",
    )
    yield SamplerSpec(
        name="gibbs",
        config=GibbsConfig,
        build="addkit.samplers.renoise:Gibbs",
        provides=SHARED | {"draws"},
        summary="Draw a label, then re-noise: chains sample p(k | image).",
    )
    yield SamplerSpec(
        name="refine",
        config=RefineConfig,
        build="addkit.samplers.renoise:Refine",
        provides=SHARED,
        summary="From y_T = 0, fed back without noise: the same answer each time.",
    )
    yield SamplerSpec(
        name="maskgit",
        config=MaskgitConfig,
        build="addkit.samplers.ordered:Maskgit",
        check=_annealed_needs_levels,
        provides=ORDERED,
        summary="Settle the surest tokens first.",
    )
    yield SamplerSpec(
        name="left-to-right",
        config=LeftToRightConfig,
        build="addkit.samplers.ordered:LeftToRight",
        check=_annealed_needs_levels,
        provides=ORDERED | LEFT_TO_RIGHT,
        summary="Settle tokens from left to right.",
    )
    yield SamplerSpec(
        name="beam",
        config=BeamConfig,
        build="addkit.samplers.autoregressive:Beam",
        provides=LEFT_TO_RIGHT,
        summary="Left to right, keeping several beginnings (autoregressive).",
    )
