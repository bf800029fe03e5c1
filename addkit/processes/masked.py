"""Masked (absorbing) diffusion, the paper's PDD baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from addkit.diffusion.gaussian import GaussianProcess, layout_of
from addkit.diffusion.model import LabelDiffusion, NoisyBatch
from addkit.diffusion.results import Clean, Targets
from addkit.diffusion.timesteps import TimeSettings, draw_times

if TYPE_CHECKING:
    from addkit.diffusion.objective import ObjectiveSettings


SMALLEST = 1e-3
"""Floor of the share of masks in the weight 1/t."""


class MaskedProcess(GaussianProcess):
    r"""Each token is a mask with chance t, else clean; the loss looks at masks alone.

    .. math:: L = E_t\, w(t) \sum_{n: masked} -\log p(y_n \mid y_{clean}, c)

    w = 1 (MaskGIT, Chang et al. 2022), or 1/t (MDLM, Sahoo et al. 2024: a bound of the negative
    log-likelihood). A mask is a token at t = T, and sampling settles tokens that wait there, so
    chains and likelihood are the Gaussian ones with levels 0 and T only.

    Args:
        weight: w.
    """

    def __init__(self, weight: Literal["none", "1/t"]) -> None:
        self.weight = weight

    def corrupt(
        self,
        model: LabelDiffusion,
        prepared: tuple[Tensor, ...],
        targets: Targets,
        settings: ObjectiveSettings,
        generator: torch.Generator,
    ) -> NoisyBatch:
        """Masks at drawn shares; the same share of rows as ADD's sees masks alone."""
        shape = targets.labels.shape
        share = draw_times(shape, generator, _shares(model, settings))[..., :1]  # type: ignore[arg-type]
        drawn = torch.rand(shape, generator=generator, device=generator.device)
        masked = drawn < share
        if targets.known is not None:
            masked = masked | ~targets.known
        t = masked.float()
        state = model.corrupt(Clean(targets.labels), 1 - t, generator)
        base = torch.ones_like(t) if targets.weights is None else targets.weights
        weights, norm = base * t, None
        if self.weight == "1/t":
            weights, norm = weights / share.clamp_min(SMALLEST), base.sum()
        return NoisyBatch(state, t, 1 - t, weights, norm, layout_of(targets))


def _shares(model: LabelDiffusion, settings: ObjectiveSettings) -> TimeSettings:
    return TimeSettings(
        stratified=settings.stratified,
        pure_noise=settings.pure_noise,
        power=model.schedule.t_power,
    )
