"""Stand-ins: an exact Bayes denoiser for a network, and a problem with a known posterior."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from addkit.diffusion import GaussianProcess, LabelDiffusion
from addkit.losses.cross_entropy import CrossEntropy


class Given(nn.Module):
    """A conditioner that hands on what it is given."""

    num_tokens = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


class NoEmbedding(nn.Module):
    """h is nothing: the Bayes skip says all of y_t."""

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        return y_t[..., :0]


class LogPrior(nn.Module):
    """A denoiser whose features are its condition, log p(k | x)."""

    uses_state = True
    bayes_skip = True
    self_condition = 0.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        return (condition.unsqueeze(1),)

    def forward(self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout=None) -> Tensor:
        return prepared[0]


@dataclass(frozen=True)
class Levels:
    """A schedule by a formula."""

    alpha_bar: Callable[[Tensor], Tensor]
    scale: float = 1.0
    t_power: float = 1.0


Exact = Callable[..., LabelDiffusion]


@pytest.fixture(scope="session")
def exact() -> Exact:
    """The exact denoiser: the condition is log p(k | x), and the logits are log p + c_t y_t.

    Its null condition is the uniform prior. `alpha_bar` is a formula, or a schedule.
    """

    def build(num_classes: int, alpha_bar, scale: float = 1.0, num_tokens: int = 1):
        schedule = alpha_bar if hasattr(alpha_bar, "t_power") else Levels(alpha_bar, scale)
        model = LabelDiffusion(
            conditioner=Given(num_classes),
            embedding=NoEmbedding(),
            denoiser=LogPrior(num_classes),
            schedule=schedule,
            loss=CrossEntropy(0.0),
            process=GaussianProcess(),
            num_classes=num_classes,
            num_tokens=num_tokens,
        )
        with torch.no_grad():
            model.output.weight.copy_(torch.eye(num_classes))
            model.null.zero_()
        return model.requires_grad_(False)

    return build


@dataclass(frozen=True)
class GaussianClasses:
    """Points around random unit class means: p(k | x) is known."""

    means: Tensor
    noise: float

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points (count, width) and their labels (count,)."""
        num_classes, width = self.means.shape
        labels = torch.randint(num_classes, (count,), generator=generator)
        offset = torch.randn(count, width, generator=generator)
        return self.means[labels] + self.noise * offset, labels

    def log_posterior(self, points: Tensor) -> Tensor:
        """Log p(k | x), (count, K)."""
        return (points @ self.means.T / self.noise**2).log_softmax(-1)

    def best(self, count: int = 20000) -> float:
        """E max p, the Bayes accuracy."""
        points, _ = self.draw(count, torch.Generator().manual_seed(77))
        return float(self.log_posterior(points).exp().amax(-1).mean())

    @classmethod
    def of(cls, num_classes: int, width: int, accuracy: float) -> GaussianClasses:
        """The noise is bisected so that the Bayes accuracy is as asked."""
        generator = torch.Generator().manual_seed(0)
        means = torch.randn(num_classes, width, generator=generator)
        means = means / means.norm(dim=1, keepdim=True)
        low, high = 0.01, 3.0
        for _ in range(20):
            middle = math.sqrt(low * high)
            good = cls(means, middle).best() > accuracy
            low, high = (middle, high) if good else (low, middle)
        return cls(means, low)


@pytest.fixture(scope="session")
def gaussian_classes() -> Callable[[int, int, float], GaussianClasses]:
    return GaussianClasses.of
