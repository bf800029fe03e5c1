"""The exact denoiser of one label as a network, and a problem whose posterior is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from addkit.diffusion import LabelDiffusion, Layout
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.protocols import Schedule
from addkit.processes.gaussian import GaussianProcess


class Handed(nn.Module):
    """A conditioner that hands on what it is given."""

    def __init__(self, width: int, num_tokens: int = 1) -> None:
        super().__init__()
        self.width, self.num_tokens = width, num_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """The condition itself, (B, C, V)."""
        return tokens


class _NoEmbedding(nn.Module):
    """h is nothing: the Bayes skip says all of y_t."""

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        return y_t[..., :0]

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError("the Bayes skip holds the state")


class _LogPrior(nn.Module):
    """A denoiser whose features are its condition, log p(k | x)."""

    uses_state = True
    bayes_skip = True
    self_condition = 0.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        return (condition.unsqueeze(1),)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        return prepared[0]


@dataclass(slots=True)
class Levels:
    """A schedule by a formula of t."""

    formula: Callable[[Tensor], Tensor]
    scale: float = 1.0
    t_power: float = 1.0

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t."""
        return self.formula(t)


def exact_denoiser(num_classes: int, schedule: Schedule, num_tokens: int = 1) -> LabelDiffusion:
    """A network that says log p(k | x) + c_t y_t, exactly; its null condition is uniform.

    Its condition is log p(k | x), (B, N, K).
    """
    model = LabelDiffusion(
        conditioner=Handed(num_classes, num_tokens),
        embedding=_NoEmbedding(),
        denoiser=_LogPrior(num_classes),
        schedule=schedule,
        loss=CrossEntropy(0.0),
        process=GaussianProcess(),
        num_classes=num_classes,
        num_tokens=num_tokens,
    )
    with torch.no_grad():
        model.output.weight.copy_(torch.eye(num_classes))
        model.null_token.zero_()
    return model.requires_grad_(False)


@dataclass(frozen=True, slots=True)
class GaussianClasses:
    """Points around random unit class means, classes equally frequent: p(k | x) is known."""

    means: Tensor
    """(K, width)."""
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


def expected_accuracy(posterior: Tensor, answers: Tensor) -> float:
    """E p(answer | x) of p(k | x), (B, K), and answers, (B,)."""
    return float(posterior.gather(1, answers.unsqueeze(1)).double().mean())
