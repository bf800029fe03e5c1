"""The exact denoiser of dependent labels as a network, and a problem to try it on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from addkit.diffusion import LabelDiffusion, Layout, corrupt
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.protocols import Process
from addkit.processes.gaussian import GaussianProcess
from addkit.schedules import LabelAccuracyConfig
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.theory.exact import Handed
from addkit.theory.joint import denoised


class _StateAndLevel(nn.Module):
    """The state and its noise level side by side, for the exact denoiser."""

    def __init__(self, num_classes: int, scale: float) -> None:
        super().__init__()
        self.num_classes, self.scale = num_classes, scale

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        return torch.cat([y_t, alpha_bar.unsqueeze(-1).expand(*y_t.shape[:-1], 1)], -1)

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
        return (condition[:, 0],)

    def forward(
        self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout: Layout | None = None
    ) -> Tensor:
        log_joint = prepared[0].double().log_softmax(-1)
        y_t, alpha_bar = h[..., :-1], h[..., -1]
        return denoised(log_joint, self.combinations, y_t, alpha_bar, self.scale).float()


@functools.cache
def _identity(num_classes: int, scale: float) -> LabelAccuracySchedule:
    """Its table takes a while to make."""
    return LabelAccuracySchedule(LabelAccuracyConfig.model_validate({"scale": scale}), num_classes)


@dataclass(frozen=True)
class JointProblem:
    """N parts of an image, each telling its own label in noise, and M allowed combinations."""

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
        combinations = torch.randperm(10**4, generator=source)[:count]
        digits = [combinations // 10**place % 10 for place in range(4)]
        combinations = torch.stack(digits, 1)
        labels = combinations[torch.randint(count, (images,), generator=source)]
        noise = torch.randn(images, 4, 10, generator=source, dtype=torch.float64)
        parts = m * functional.one_hot(labels, 10) + noise
        scores = m * parts[:, torch.arange(4), combinations].sum(-1)
        return cls(combinations, scores.log_softmax(-1))

    def model(self, process: Process | None = None) -> LabelDiffusion:
        """The exact denoiser as a network; its null condition is the flat joint."""
        count, tokens = self.combinations.shape
        model = LabelDiffusion(
            conditioner=Handed(count),
            embedding=_StateAndLevel(self.num_classes, self.scale),
            denoiser=_JointDenoiser(self.combinations, self.num_classes, self.scale),
            schedule=_identity(self.num_classes, self.scale),
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
        """What the network is told of each image, (B, 1, M)."""
        return self.log_joint.float().unsqueeze(1)

    def index(self, labels: Tensor) -> Tensor:
        """Which combination (..., N) is, M where it is none."""
        same = (labels.unsqueeze(-2) == self.combinations).all(-1)
        none = ~same.any(-1, keepdim=True)
        return torch.cat([same, none], -1).float().argmax(-1)

    def chance(self, labels: Tensor) -> Tensor:
        """p(labels | x), (B, ..., N) -> (B, ...): the expected exact match of an answer."""
        p = torch.cat([self.log_joint.exp(), torch.zeros(len(self.log_joint), 1)], -1)
        index = self.index(labels)
        return p.gather(1, index.view(len(p), -1)).view(index.shape)
