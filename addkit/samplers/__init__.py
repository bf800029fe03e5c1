"""Samplers: the path of noise levels over steps and tokens, and what a step carries over.

Where tokens share one level, all samplers are one step rule (`addkit.diffusion.chain`) with a share
r of carried noise: r = 0 re-noises (the paper), r = kappa m_t / m_s reaches the true posterior's
step at kappa = 1 (ancestral), and r = 1 is the deterministic DDIM. The others settle tokens one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, Problem, SamplerSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Sampler
    from addkit.samplers.settings import (
        AncestralConfig,
        CommitConfig,
        GibbsConfig,
        LeftToRightConfig,
    )


SHARED = frozenset({"shared-time"})
ORDERED = frozenset({"ordered"})


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
        config="addkit.samplers.settings:RenoiseConfig",
        build="addkit.samplers.kappa:KappaSampler",
        provides=SHARED,
        summary="Re-noise (the paper's).",
    )
    yield SamplerSpec(
        name="ddim",
        config="addkit.samplers.settings:DdimConfig",
        build="addkit.samplers.ddim:DdimSampler",
        provides=SHARED,
        summary="Keep the noise that y_t holds.",
    )
    yield SamplerSpec(
        name="ancestral",
        config="addkit.samplers.settings:AncestralConfig",
        build=_ancestral,
        provides=SHARED,
        summary="The true posterior.",
    )
    yield SamplerSpec(
        name="gibbs",
        config="addkit.samplers.settings:GibbsConfig",
        build=_gibbs,
        provides=SHARED | {"draws"},
        summary="Draw a label, then re-noise: chains sample p(k | image).",
    )
    yield SamplerSpec(
        name="refine",
        config="addkit.samplers.settings:RefineConfig",
        build="addkit.samplers.shared:Refine",
        provides=SHARED,
        summary="From y_T = 0, fed back without noise: the same answer each time.",
    )
    yield SamplerSpec(
        name="maskgit",
        config="addkit.samplers.settings:CommitConfig",
        build=_commit,
        check=_no_levels_between,
        provides=ORDERED,
        summary="Settle the surest tokens first.",
    )
    yield SamplerSpec(
        name="left-to-right",
        config="addkit.samplers.settings:LeftToRightConfig",
        build=_left_to_right,
        check=_no_levels_between,
        provides=ORDERED | {"left-to-right"},
        summary="Settle tokens from left to right.",
    )
    yield SamplerSpec(
        name="beam",
        config="addkit.samplers.settings:BeamConfig",
        build="addkit.samplers.ordered:Beam",
        provides=frozenset({"left-to-right"}),
        summary="Left to right, keeping several beginnings (autoregressive).",
    )
