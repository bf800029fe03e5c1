"""Small networks for tests: transformers whose weights are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from addkit.denoisers.settings import TransformerConfig
from addkit.denoisers.transformer import TransformerDenoiser
from addkit.diffusion import (
    LabelDiffusion,
    Layout,
    NoisyBatch,
    ObjectiveSettings,
    State,
    Targets,
    TimeSettings,
)
from addkit.diffusion.objective import rolled_out, token_losses
from addkit.embeddings.linear import LinearEmbedding
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.embeddings.token import TokenEmbedding
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin.values import Column
from addkit.processes.gaussian import GaussianProcess
from addkit.schedules.label_accuracy import LabelAccuracySchedule
from addkit.schedules.settings import LabelAccuracyConfig
from addkit.testing.exact_models import Handed

CONDITION = 6
"""Width of a condition token."""
WIDTH = 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def identity(num_classes: int, scale: float) -> LabelAccuracySchedule:
    """Its table takes a while to make."""
    return LabelAccuracySchedule(LabelAccuracyConfig(scale=scale), num_classes)


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
    conditioner: Any = None,
    columns: tuple[Column, ...] = (),
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
            conditioner=conditioner or Handed(CONDITION, num_tokens=2),
            embedding=kinds[embedding](),
            denoiser=TransformerDenoiser(config, CONDITION, num_tokens),
            schedule=identity(num_classes, scale),
            loss=loss or CrossEntropy(0.0),
            process=process or GaussianProcess(),
            num_classes=num_classes,
            num_tokens=num_tokens,
            token_classes=token_classes,
            columns=columns,
            predicts_length=lengths,
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


@dataclass(frozen=True)
class Corrupted:
    """A training batch as a process makes it and as the network embeds it."""

    batch: NoisyBatch
    state: State
    t: Tensor
    """Of all tokens in the state."""

    @property
    def alpha_bar(self) -> Tensor:
        return self.batch.alpha_bar

    @property
    def weights(self) -> Tensor | None:
        return self.batch.weights

    @property
    def norm(self) -> Tensor | None:
        return self.batch.norm

    @property
    def layout(self) -> Layout | None:
        return self.batch.layout

    def losses(self, model: LabelDiffusion, features: Tensor, labels: Tensor) -> tuple:
        """Loss and hit of every token."""
        alpha_bar = self.batch.target_alpha_bar
        alpha_bar = self.batch.alpha_bar if alpha_bar is None else alpha_bar
        return token_losses(model, features, self.state, alpha_bar, labels)


def corrupted(
    model: LabelDiffusion,
    targets: Targets,
    settings: ObjectiveSettings,
    source: torch.Generator,
    prepared: tuple[Tensor, ...] = (),
) -> Corrupted:
    """What the objective makes of targets before it calls the network."""
    times = TimeSettings(
        stratified=settings.stratified,
        pure_noise=settings.pure_noise,
        power=model.schedule.t_power,
        warp=model.timesteps,
        token_times=settings.token_times,
    )
    batch = model.process.corrupt(targets, model.schedule, times, source)
    if settings.rollout:
        batch = rolled_out(model, prepared, batch, settings.rollout, source)
    return Corrupted(batch, *model.embed(batch, source))
