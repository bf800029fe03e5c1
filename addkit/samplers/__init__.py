"""Samplers: what the network reads at the next step, given what it predicts at this one.

Where tokens share one time, a step keeps a share r of the old noise: r = 0 re-noises (the paper),
r = kappa m_t / m_s reaches the true posterior's step at kappa = 1 (ancestral), and r = 1 is the
deterministic DDIM. The others settle tokens one after the other. Each owns its steps; the loop is
`addkit.sampling.loop`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from addkit.plugin.spec import Choices, SamplerSpec, components

if TYPE_CHECKING:
    from addkit.samplers.settings import LeaveOneOutConfig, LeftToRightConfig, MaskgitConfig

SHARED = frozenset({"shared-time"})
ORDERED = frozenset({"ordered"})
LEFT_TO_RIGHT = frozenset({"left-to-right"})
BIASED = frozenset({"evidence-as-bias"})


def _annealed_needs_levels(
    config: MaskgitConfig | LeftToRightConfig, choices: Choices
) -> Iterable[str]:
    if config.others == "annealed" and "noise-levels" not in choices["process"].spec.provides:
        yield (
            'others = "annealed" needs a process that provides "noise-levels"; use others = "noise"'
        )


def _reads_likelihoods(config: LeaveOneOutConfig, choices: Choices) -> Iterable[str]:
    if "noisy-state" not in choices["process"].spec.provides:
        yield (
            'it reads labels with Gaussian noise, which [process] "'
            f'{choices["process"].name}" has not'
        )
    if "reads-likelihood" not in choices["embedding"].spec.provides:
        yield (
            f'[embedding] "{choices["embedding"].name}" does not provide "reads-likelihood"; '
            'use "posterior"'
        )
    if getattr(choices["denoiser"].config, "time", False):
        yield "evidence has no time, which the network would read too; set denoiser.time = false"


addkit_components = components(
    SamplerSpec(
        "renoise",
        ".settings:RenoiseConfig",
        ".renoise:renoise",
        "Re-noise (the paper's).",
        provides=SHARED,
    ),
    SamplerSpec(
        "ddim",
        ".settings:DdimConfig",
        ".renoise:Ddim",
        "Keep the noise that is in y_t.",
        provides=SHARED,
    ),
    SamplerSpec(
        "ancestral",
        ".settings:AncestralConfig",
        ".renoise:Ancestral",
        "The true posterior.",
        provides=SHARED,
    ),
    SamplerSpec(
        "gibbs",
        ".settings:GibbsConfig",
        ".renoise:Gibbs",
        "Draw a label, then re-noise: chains sample p(k | image).",
        provides=SHARED | {"draws"},
    ),
    SamplerSpec(
        "refine",
        ".settings:RefineConfig",
        ".renoise:Refine",
        "From y_T = 0, fed back without noise: the same answer each time.",
        provides=SHARED,
    ),
    SamplerSpec(
        "maskgit",
        ".settings:MaskgitConfig",
        ".ordered:Maskgit",
        "Settle the surest tokens first.",
        check=_annealed_needs_levels,
        provides=ORDERED | BIASED,
    ),
    SamplerSpec(
        "left-to-right",
        ".settings:LeftToRightConfig",
        ".ordered:LeftToRight",
        "Settle tokens from left to right.",
        check=_annealed_needs_levels,
        provides=ORDERED | LEFT_TO_RIGHT | BIASED,
    ),
    SamplerSpec(
        "beam",
        ".settings:BeamConfig",
        ".autoregressive:Beam",
        "Left to right, keeping several beginnings (autoregressive).",
        provides=LEFT_TO_RIGHT | BIASED,
    ),
    SamplerSpec(
        "weighted-draws",
        ".settings:WeightedDrawsConfig",
        ".weighted_draws:WeightedDraws",
        "Left-to-right draws, weighted by soft evidence (autoregressive).",
        provides=LEFT_TO_RIGHT | BIASED,
    ),
    SamplerSpec(
        "surest-beam",
        ".settings:SurestBeamConfig",
        ".surest_beam:SurestBeam",
        "Beam search over the labels in the order of their first certainty.",
        provides=ORDERED | BIASED,
    ),
    SamplerSpec(
        "leave-one-out",
        ".settings:LeaveOneOutConfig",
        ".leave_one_out:LeaveOneOut",
        "Soft evidence read as noisy labels, a label's own left out.",
        check=_reads_likelihoods,
        provides=ORDERED | {"evidence-as-state"},
    ),
)
