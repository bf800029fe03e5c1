"""Small networks for tests: transformers whose weights are drawn, and the exact joint denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from addkit.denoisers import TransformerConfig
from addkit.denoisers.transformer import TransformerDenoiser
from addkit.diffusion import GaussianProcess, LabelDiffusion, corrupt
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.embeddings.token import TokenEmbedding
from addkit.losses.cross_entropy import CrossEntropy
from addkit.schedules import IdentityConfig
from addkit.schedules.identity import IdentitySchedule

from .joint_oracle import denoised

CONDITION = 6
"""Width of a condition token."""
WIDTH = 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def identity(num_classes: int, scale: float) -> IdentitySchedule:
    """Its table takes a while to make."""
    return IdentitySchedule(IdentityConfig(scale=scale), num_classes)


class Handed(nn.Module):
    """A conditioner that hands on what it is given."""

    num_tokens = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


def condition_of(images: int, seed: int = 7) -> Tensor:
    return torch.randn(images, 2, CONDITION, generator=generator(seed))


def network(
    process: Any = None,
    *,
    num_classes: int = 5,
    num_tokens: int = 4,
    embedding: str = "posterior",
    scale: float = 1.0,
    spread: float = 0.35,
    token_classes: tuple[tuple[int, int], ...] = (),
    lengths: bool = False,
    loss: Any = None,
    **denoiser: Any,
) -> LabelDiffusion:
    """Every weight is drawn, the output layer's too, so that each answer is its own."""
    config = TransformerConfig(width=WIDTH, depth=2, heads=2, **denoiser)
    kinds = {
        "posterior": lambda: PosteriorEmbedding(num_classes, WIDTH, scale, spread=0.5, largest=16),
        "linear": lambda: LinearEmbedding(num_classes, WIDTH, scale),
        "token": lambda: TokenEmbedding(num_classes, WIDTH, scale, spread=0.5),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LabelDiffusion(
            conditioner=Handed(CONDITION),
            embedding=kinds[embedding](),
            denoiser=TransformerDenoiser(config, CONDITION, num_tokens),
            schedule=identity(num_classes, scale),
            loss=loss or CrossEntropy(0.0),
            process=process or GaussianProcess(),
            num_classes=num_classes,
            num_tokens=num_tokens,
            token_classes=token_classes,
            lengths=lengths,
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=spread)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm) and module.elementwise_affine:
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for block in model.denoiser.blocks:
            nn.init.constant_(block.condition_norm.weight, 3.0)
        nn.init.zeros_(model.output.bias)
    return model.eval()


class Together(nn.Module):
    """The state and its noise level side by side, for the exact denoiser."""

    def __init__(self, num_classes: int, scale: float) -> None:
        super().__init__()
        self.num_classes, self.scale = num_classes, scale

    def read(self, y_t: Tensor, alpha_bar: Tensor) -> Tensor:
        return torch.cat([y_t, alpha_bar.unsqueeze(-1).expand(*y_t.shape[:-1], 1)], -1)

    def draw(self, labels: Tensor, alpha_bar: Tensor, source: torch.Generator) -> Tensor:
        noisy = corrupt(labels, alpha_bar, self.num_classes, source, self.scale)
        return self.read(noisy.y_t, alpha_bar)


class JointOracle(nn.Module):
    """log p(y_n | y_t, x) of all tokens; the condition is log p(combination | x), (B, 1, M)."""

    uses_state = True
    bayes_skip = False
    self_condition = 0.0

    def __init__(self, combinations: Tensor, num_classes: int, scale: float) -> None:
        super().__init__()
        self.combinations, self.width, self.scale = combinations, num_classes, scale

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        return (condition[:, 0],)

    def forward(self, h: Tensor, t: Tensor, prepared: tuple[Tensor, ...], layout=None) -> Tensor:
        log_joint = prepared[0].double().log_softmax(-1)
        y_t, alpha_bar = h[..., :-1], h[..., -1]
        return denoised(log_joint, self.combinations, y_t, alpha_bar, self.scale).float()


@dataclass(frozen=True)
class JointProblem:
    """N parts of an image, each telling its own label in noise, and M allowed combinations."""

    combinations: Tensor
    log_joint: Tensor
    """log p(combination | x), (B, M), float64."""
    num_classes: int = 10
    scale: float = 1.0

    @classmethod
    def of(cls, images: int, *, m: float, count: int = 64, seed: int = 0) -> JointProblem:
        """Four tokens of ten classes; part n shows the one-hot label times m in unit noise."""
        source = generator(seed)
        combinations = torch.randperm(10**4, generator=source)[:count]
        digits = [combinations // 10**place % 10 for place in range(4)]
        combinations = torch.stack(digits, 1)
        labels = combinations[torch.randint(count, (images,), generator=source)]
        noise = torch.randn(images, 4, 10, generator=source, dtype=torch.float64)
        parts = m * nn.functional.one_hot(labels, 10) + noise
        scores = m * parts[:, torch.arange(4), combinations].sum(-1)
        return cls(combinations, scores.log_softmax(-1))

    def model(self, process: Any = None) -> LabelDiffusion:
        """The exact denoiser as a network; its null condition is the flat joint."""
        tokens, count = self.combinations.shape[1], len(self.combinations)
        model = LabelDiffusion(
            conditioner=Handed(count),
            embedding=Together(self.num_classes, self.scale),
            denoiser=JointOracle(self.combinations, self.num_classes, self.scale),
            schedule=identity(self.num_classes, self.scale),
            loss=CrossEntropy(0.0),
            process=process or GaussianProcess(),
            num_classes=self.num_classes,
            num_tokens=tokens,
        )
        with torch.no_grad():
            model.output.weight.copy_(torch.eye(self.num_classes))
            model.null.zero_()
        return model.requires_grad_(False)

    @property
    def condition(self) -> Tensor:
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
