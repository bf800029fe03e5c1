"""Samplers: the path of noise levels over steps and tokens, and what a step carries over.

Where tokens share one level, all samplers are one step rule (`addkit.diffusion.chain`) with a share
r of carried noise: r = 0 re-noises (the paper), r = kappa m_t / m_s reaches the true posterior's
step at kappa = 1 (ancestral), and r = 1 is the deterministic DDIM. The others settle tokens one
after the other.
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
    "CommitConfig",
    "DdimConfig",
    "GibbsConfig",
    "LeftToRightConfig",
    "RefineConfig",
    "RenoiseConfig",
]

SHARED = frozenset({"shared-time"})
ORDERED = frozenset({"ordered"})


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


class RefineConfig(Config):
    """Start at y_T = 0 and feed the answer back without noise: always the same answer."""


class CommitConfig(Config):
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


def _no_levels_between(config: CommitConfig | LeftToRightConfig, choices: Choices) -> Iterable[str]:
    process = choices["process"].name
    if config.others == "annealed" and process == "masked":
        yield 'others = "annealed" needs noise levels, and masks have none; use others = "noise"'


def _ancestral(config: AncestralConfig, problem: Problem) -> Sampler:
    from addkit.samplers.kappa import KappaSampler

    return KappaSampler(1.0)


def _gibbs(config: GibbsConfig, problem: Problem) -> Sampler:
    from addkit.samplers.kappa import KappaSampler

    return KappaSampler(0.0, draws=True)


def _commit(config: CommitConfig, problem: Problem) -> Sampler:
    from addkit.samplers.ordered import ORDERS, Ordered

    return Ordered(ORDERS[config.order], anneals=config.others == "annealed")


def _left_to_right(config: LeftToRightConfig, problem: Problem) -> Sampler:
    from addkit.samplers.ordered import ORDERS, Ordered

    return Ordered(ORDERS["left-to-right"], anneals=config.others == "annealed")


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in samplers."""
    yield SamplerSpec(
        name="renoise",
        config=RenoiseConfig,
        build="addkit.samplers.kappa:KappaSampler",
        provides=SHARED,
        summary="Re-noise (the paper's).",
    )
    yield SamplerSpec(
        name="ddim",
        config=DdimConfig,
        build="addkit.samplers.ddim:DdimSampler",
        provides=SHARED,
        summary="Keep the noise that y_t holds.",
    )
    yield SamplerSpec(
        name="ancestral",
        config=AncestralConfig,
        build=_ancestral,
        provides=SHARED,
        summary="The true posterior.",
    )
    yield SamplerSpec(
        name="gibbs",
        config=GibbsConfig,
        build=_gibbs,
        provides=SHARED | {"draws"},
        summary="Draw a label, then re-noise: chains sample p(k | image).",
    )
    yield SamplerSpec(
        name="refine",
        config=RefineConfig,
        build="addkit.samplers.shared:Refine",
        provides=SHARED,
        summary="From y_T = 0, fed back without noise: the same answer each time.",
    )
    yield SamplerSpec(
        name="maskgit",
        config=CommitConfig,
        build=_commit,
        check=_no_levels_between,
        provides=ORDERED,
        summary="Settle the surest tokens first.",
    )
    yield SamplerSpec(
        name="left-to-right",
        config=LeftToRightConfig,
        build=_left_to_right,
        check=_no_levels_between,
        provides=ORDERED | {"left-to-right"},
        summary="Settle tokens from left to right.",
    )
    yield SamplerSpec(
        name="beam",
        config=BeamConfig,
        build="addkit.samplers.ordered:Beam",
        provides=frozenset({"left-to-right"}),
        summary="Left to right, keeping several beginnings (autoregressive).",
    )
