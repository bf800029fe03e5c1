"""Samplers: what the network reads at the next step, given what it predicts at this one.

Where tokens share one time, a step keeps a share r of the old noise: r = 0 re-noises (the paper),
r = kappa m_t / m_s reaches the true posterior's step at kappa = 1 (ancestral), and r = 1 is the
deterministic DDIM. The others settle tokens one after the other. Each owns its steps; the loop is
`addkit.sampling.loop`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Choices, Problem, SamplerSpec, Spec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.protocols import Sampler
    from addkit.samplers.settings import LeftToRightConfig, MaskgitConfig, RenoiseConfig

SHARED = frozenset({"shared-time"})
ORDERED = frozenset({"ordered"})
LEFT_TO_RIGHT = frozenset({"left-to-right"})


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

    # Without carried noise y_t is not needed, which spares a K-wide draw at each step.
    return Kappa(config.kappa) if config.kappa else Renoise()


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in samplers."""
    yield SamplerSpec(
        name="renoise",
        config="addkit.samplers.settings:RenoiseConfig",
        build=_renoise,
        provides=SHARED,
        summary="Re-noise (the paper's).",
    )
    yield SamplerSpec(
        name="ddim",
        config="addkit.samplers.settings:DdimConfig",
        build="addkit.samplers.carry:Ddim",
        provides=SHARED,
        summary="Keep the noise that is in y_t.",
    )
    yield SamplerSpec(
        name="ancestral",
        config="addkit.samplers.settings:AncestralConfig",
        build="addkit.samplers.carry:Ancestral",
        provides=SHARED,
        summary="The true posterior.",
    )
    yield SamplerSpec(
        name="gibbs",
        config="addkit.samplers.settings:GibbsConfig",
        build="addkit.samplers.renoise:Gibbs",
        provides=SHARED | {"draws"},
        summary="Draw a label, then re-noise: chains sample p(k | image).",
    )
    yield SamplerSpec(
        name="refine",
        config="addkit.samplers.settings:RefineConfig",
        build="addkit.samplers.renoise:Refine",
        provides=SHARED,
        summary="From y_T = 0, fed back without noise: the same answer each time.",
    )
    yield SamplerSpec(
        name="maskgit",
        config="addkit.samplers.settings:MaskgitConfig",
        build="addkit.samplers.ordered:Maskgit",
        check=_annealed_needs_levels,
        provides=ORDERED,
        summary="Settle the surest tokens first.",
    )
    yield SamplerSpec(
        name="left-to-right",
        config="addkit.samplers.settings:LeftToRightConfig",
        build="addkit.samplers.ordered:LeftToRight",
        check=_annealed_needs_levels,
        provides=ORDERED | LEFT_TO_RIGHT,
        summary="Settle tokens from left to right.",
    )
    yield SamplerSpec(
        name="beam",
        config="addkit.samplers.settings:BeamConfig",
        build="addkit.samplers.autoregressive:Beam",
        provides=LEFT_TO_RIGHT,
        summary="Left to right, keeping several beginnings (autoregressive).",
    )
