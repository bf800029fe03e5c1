r"""Problems whose posterior is known in closed form, and their exact denoisers as networks.

One label: points around class means, `GaussianClasses` and `exact_denoiser`. Several labels that
depend on each other: N parts x_1, ..., x_N of an image depend each on its own label alone, and the
labels are one of M allowed combinations, `JointProblem`:

.. math:: p(y \mid x) \propto p(y) \prod_n p(x_n \mid y_n)

Letters in shapes: B images, R chains, N tokens, K classes, M combinations. What is computed of a
joint distribution is float64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from addkit.diffusion import LabelDiffusion, Layout, corrupt
from addkit.diffusion.noise import log_likelihood_scale
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.protocols import Process, Schedule
from addkit.processes.gaussian import GaussianProcess
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig

_LEAST = torch.finfo(torch.float64).tiny
"""Probability of the impossible, so that its logarithm (-708) is finite."""


class Handed(nn.Module):
    """A conditioner that returns its input."""

    def __init__(self, width: int, num_tokens: int = 1) -> None:
        super().__init__()
        self.width, self.num_tokens = width, num_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """The condition itself, (B, C, V)."""
        return tokens


class _NoEmbedding(nn.Module):
    """An empty h: y_t enters through the Bayes skip alone."""

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        # Width 0 and not None: what reads h needs its leading axes (B, R, N).
        return y_t[..., :0]

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError("the Bayes skip needs y_t itself")


class _LogPrior(nn.Module):
    """A denoiser whose features are its condition, log p(k | x)."""

    uses_state = True
    bayes_skip = True
    self_condition = 0.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        return (condition.unsqueeze(1),)  # (B, 1, N, K): one for all copies

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        return prepared[0]


@dataclass(slots=True)
class Levels:
    """A schedule given by a formula of t."""

    formula: Callable[[Tensor], Tensor]
    scale: float = 1.0
    t_power: float = 1.0

    def alpha_bar(self, t: Tensor) -> Tensor:
        """Same shape as t."""
        return self.formula(t)


def exact_denoiser(num_classes: int, schedule: Schedule, num_tokens: int = 1) -> LabelDiffusion:
    """A network whose logits are log p(k | x) + c_t y_t; its null condition is uniform.

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
        # The features are logits already, so the output layer is the identity; logits of 0 are the
        # uniform distribution.
        model.output.weight.copy_(torch.eye(num_classes))
        model.null_token.zero_()
    return model.requires_grad_(False)


@dataclass(frozen=True, slots=True)
class GaussianClasses:
    """Points around random unit class means, for equally frequent classes."""

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
        # |x - mean|^2 without its terms that all classes share: means have norm 1.
        return (points @ self.means.T / self.noise**2).log_softmax(-1)  # (count, K)

    def best(self, count: int = 20000) -> float:
        """E max p, the Bayes accuracy."""
        # The same points for every noise, so that bisection compares like with like.
        points, _ = self.draw(count, torch.Generator().manual_seed(77))
        return float(self.log_posterior(points).exp().amax(-1).mean())

    @classmethod
    def of(cls, num_classes: int, width: int, accuracy: float) -> GaussianClasses:
        """A problem of this Bayes accuracy, by bisection of the noise."""
        generator = torch.Generator().manual_seed(0)
        means = torch.randn(num_classes, width, generator=generator)
        means = means / means.norm(dim=1, keepdim=True)
        low, high = 0.01, 3.0
        for _ in range(20):
            # The geometric mean: noise is a scale.
            middle = math.sqrt(low * high)
            good = cls(means, middle).best() > accuracy
            low, high = (middle, high) if good else (low, middle)
        return cls(means, low)


def expected_accuracy(posterior: Tensor, answers: Tensor) -> float:
    """E p(answer | x) of p(k | x), (B, K), and answers, (B,)."""
    return float(posterior.gather(1, answers.unsqueeze(1)).double().mean())


def most_probable(log_joint: Tensor, combinations: Tensor) -> Tensor:
    """The joint MAP, the best exact match there can be: log p (..., M) -> (..., N)."""
    return combinations[log_joint.argmax(-1)]


def marginals(log_joint: Tensor, combinations: Tensor, num_classes: int) -> Tensor:
    """Log p(y_n = k | x), the best answer of one shot: log p (..., M) -> (..., N, K)."""
    hot = one_hot(combinations, num_classes).double()  # (M, N, K)
    # A class of no combination has p = 0, whose logarithm would become NaN in a softmax's gradient.
    return torch.einsum("...m,mnk->...nk", log_joint.exp(), hot).clamp_min(_LEAST).log()


def given(log_joint: Tensor, combinations: Tensor, labels: Tensor) -> Tensor:
    """Log p(combination | x, given labels), (B, M); labels (B, N) are -1 where free.

    Where no combination has all of the given labels, the answer is NaN.
    """
    labels = labels[:, None, :]  # (B, 1, N)
    fits = ((combinations == labels) | (labels < 0)).all(-1)  # (B, M)
    return log_joint.masked_fill(~fits, -torch.inf).log_softmax(-1)


def denoised(
    log_joint: Tensor, combinations: Tensor, y_t: Tensor, alpha_bar: Tensor, scale: float = 1.0
) -> Tensor:
    r"""The exact denoiser log p(y_n = k | y_t, x) of all tokens, (B, R, N, K).

    A combination's log-probability grows by :math:`\sum_n c_{t,n}\, y_{t,n}[k_n]`, the log
    likelihood of every token's state (`addkit.diffusion.noise.log_likelihood_scale`).

    Args:
        log_joint: log p(combination | x), (B, M).
        combinations: (M, N).
        y_t: (B, R, N, K).
        alpha_bar: broadcastable to (B, R, N).
        scale: b.
    """
    c_t = log_likelihood_scale(alpha_bar.double(), scale)
    evidence = c_t.unsqueeze(-1) * y_t.double()  # (B, R, N, K)
    tokens = torch.arange(combinations.shape[1])
    # Indexing picks y_t[k_n] of each combination's label at each token: (B, R, M, N).
    scores = log_joint[:, None] + evidence[:, :, tokens, combinations].sum(-1)  # (B, R, M)
    return marginals(scores.log_softmax(-1), combinations, y_t.shape[-1])


def is_allowed(labels: Tensor, combinations: Tensor) -> Tensor:
    """Which label rows are on the list: (..., N) -> (...), bool."""
    return (labels.unsqueeze(-2) == combinations).all(-1).any(-1)


class _StateAndLevel(nn.Module):
    """Concatenates y_t and alpha_bar, which the exact denoiser needs."""

    def __init__(self, num_classes: int, scale: float) -> None:
        super().__init__()
        self.num_classes, self.scale = num_classes, scale

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        level = alpha_bar.unsqueeze(-1).expand(*y_t.shape[:-1], 1)
        return torch.cat([y_t, level], -1)  # (B, R, N, K + 1)

    def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
        noisy = corrupt(labels, alpha_bar, self.num_classes, generator, self.scale)
        return self.read(noisy.y_t, alpha_bar)


class _JointDenoiser(nn.Module):
    """log p(y_n | y_t, x) of all tokens; the condition is log p(combination | x), (B, 1, M)."""

    uses_state = True
    bayes_skip = False
    self_condition = 0.0

    def __init__(self, combinations: Tensor, num_classes: int, scale: float) -> None:
        super().__init__()
        self.combinations, self.width, self.scale = combinations, num_classes, scale

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        return (condition[:, 0],)  # (B, M)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        # Normalised again, since the null condition is 0 everywhere.
        log_joint = prepared[0].double().log_softmax(-1)
        y_t, alpha_bar = h[..., :-1], h[..., -1]
        return denoised(log_joint, self.combinations, y_t, alpha_bar, self.scale).float()


# The schedule's table takes a second, and tests build many models.
@functools.cache
def _label_accuracy(num_classes: int, scale: float) -> LabelAccuracySchedule:
    """The schedule with the default settings at this scale."""
    return LabelAccuracySchedule(LabelAccuracyConfig.model_validate({"scale": scale}), num_classes)


@dataclass(frozen=True)
class JointProblem:
    """N parts of an image, each its own label in noise, and M allowed combinations."""

    combinations: Tensor
    """(M, N)."""
    log_joint: Tensor
    """log p(combination | x), (B, M), float64."""
    num_classes: int = 10
    scale: float = 1.0

    @classmethod
    def of(cls, images: int, *, m: float, count: int = 64, seed: int = 0) -> JointProblem:
        """Four tokens of ten classes; part n shows the one-hot label times m in unit noise."""
        source = torch.Generator().manual_seed(seed)
        # Numbers below 10,000 without repetition: their four digits are the combination.
        combinations = torch.randperm(10**4, generator=source)[:count]
        digits = [combinations // 10**place % 10 for place in range(4)]
        combinations = torch.stack(digits, 1)  # (M, 4)
        labels = combinations[torch.randint(count, (images,), generator=source)]  # (B, 4)
        noise = torch.randn(images, 4, 10, generator=source, dtype=torch.float64)
        parts = m * one_hot(labels, 10) + noise  # (B, 4, 10)
        # log p(x | y) = m sum_n x_n[y_n] up to a constant, for each combination: (B, M).
        scores = m * parts[:, torch.arange(4), combinations].sum(-1)
        return cls(combinations, scores.log_softmax(-1))

    def model(self, process: Process | None = None) -> LabelDiffusion:
        """The exact denoiser as a network; its null condition is the flat joint."""
        count, tokens = self.combinations.shape
        model = LabelDiffusion(
            conditioner=Handed(count),
            embedding=_StateAndLevel(self.num_classes, self.scale),
            denoiser=_JointDenoiser(self.combinations, self.num_classes, self.scale),
            schedule=_label_accuracy(self.num_classes, self.scale),
            loss=CrossEntropy(0.0),
            process=process or GaussianProcess(),
            num_classes=self.num_classes,
            num_tokens=tokens,
        )
        with torch.no_grad():
            model.output.weight.copy_(torch.eye(self.num_classes))
            model.null_token.zero_()
        return model.requires_grad_(False)

    @property
    def condition(self) -> Tensor:
        """The network's condition of each image, (B, 1, M)."""
        return self.log_joint.float().unsqueeze(1)

    def index(self, labels: Tensor) -> Tensor:
        """The index of the combination of labels (..., N); M where there is none."""
        same = (labels.unsqueeze(-2) == self.combinations).all(-1)  # (..., M)
        none = ~same.any(-1, keepdim=True)
        return torch.cat([same, none], -1).float().argmax(-1)

    def chance(self, labels: Tensor) -> Tensor:
        """p(labels | x), (B, ..., N) -> (B, ...): the expected exact match of an answer."""
        # Column M has probability 0, for labels that are no combination.
        p = torch.cat([self.log_joint.exp(), torch.zeros(len(self.log_joint), 1)], -1)
        index = self.index(labels)
        return p.gather(1, index.view(len(p), -1)).view(index.shape)
