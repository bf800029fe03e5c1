"""Stand-ins: an exact Bayes denoiser for a network, and a problem with a known posterior."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from addkit.diffusion import LabelDiffusion
from addkit.testing.exact_models import GaussianClasses, Levels, exact_denoiser

Exact = Callable[..., LabelDiffusion]


@pytest.fixture(scope="session")
def exact() -> Exact:
    """The exact denoiser: the condition is log p(k | x), and the logits are log p + c_t y_t.

    Its null condition is the uniform prior. `alpha_bar` is a formula, or a schedule.
    """

    def build(num_classes: int, alpha_bar, scale: float = 1.0, num_tokens: int = 1):
        schedule = alpha_bar if hasattr(alpha_bar, "t_power") else Levels(alpha_bar, scale)
        return exact_denoiser(num_classes, schedule, num_tokens)

    return build


@pytest.fixture(scope="session")
def gaussian_classes() -> Callable[[int, int, float], GaussianClasses]:
    return GaussianClasses.of
