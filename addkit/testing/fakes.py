"""Stand-ins for what surrounds a component: images, chains, answers and a small network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from addkit.denoisers.settings import TransformerConfig
from addkit.denoisers.transformer import TransformerDenoiser
from addkit.diffusion import Answer, ChainStep, Clean, LabelDiffusion
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin import load_registry
from addkit.plugin.protocols import Process, Sampler
from addkit.schedules.closed_form import CosineSchedule
from addkit.schedules.settings import CosineConfig
from addkit.testing.small_problem import IMAGES, Bench

CHAINS, STEPS = 4, 3


def images_of(bench: Bench) -> Tensor:
    """(B, channels, size, size)."""
    problem = bench.problem
    return bench.normal(IMAGES, problem.image_channels, problem.image_size, problem.image_size)


def steps_of(bench: Bench, logits: Tensor | None = None) -> Iterator[ChainStep]:
    """Three steps of four chains for each image; without logits these are random."""
    problem = bench.problem
    shape = (IMAGES, CHAINS, problem.num_tokens, problem.num_classes)
    for index in range(STEPS):
        # (B, R, N, K), by default with a seed for each step.
        step = bench.normal(*shape, seed=10 + index) if logits is None else logits.expand(shape)
        exited = torch.zeros(IMAGES, dtype=torch.bool)
        yield ChainStep(index, 1 - index / STEPS, step, Clean(step.argmax(-1)), exited)


def answer_of(labels: Tensor, num_classes: int) -> Answer:
    """An answer that gives labels (B, N) probability 1."""
    sure = nn.functional.one_hot(labels, num_classes).float()  # (B, N, K)
    ones = torch.ones(len(labels), 1)  # (B, S) with one candidate
    return Answer(
        labels=labels,
        probabilities=sure,
        votes=sure,
        steps=torch.ones(len(labels), dtype=torch.long),
        candidates=labels.unsqueeze(1),
        confidence=ones.unsqueeze(-1).expand(-1, 1, labels.shape[1]),
        scores=ones,
    )


def network_of(process: Process, num_classes: int, num_tokens: int) -> LabelDiffusion:
    """A small network with random weights, its output layer's too, in evaluation mode."""
    # Tokens see each other, so that a law about orders can fail.
    config = TransformerConfig.model_validate({"width": 16, "depth": 1, "heads": 2})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LabelDiffusion(
            conditioner=_Same(16),
            embedding=PosteriorEmbedding(num_classes, 16, 1.0, spread=0.5, largest=16),
            denoiser=TransformerDenoiser(config, 16, num_tokens),
            schedule=CosineSchedule(CosineConfig.model_validate({})),
            loss=CrossEntropy(0.0),
            process=process,
            num_classes=num_classes,
            num_tokens=num_tokens,
        )
        # It begins at 0, with which every logit is equal and no chain changes.
        nn.init.normal_(network.output.weight)
    return network.eval()


def sampler_for(accepts: frozenset[str]) -> Sampler:
    """A sampler for a process that accepts these abilities."""
    registry = load_registry()
    # The plainest first, so that a failure is the process's own.
    for name in ("renoise", "left-to-right", *registry.names("sampler")):
        bench = Bench(registry.get("sampler", name))
        if bench.provides & accepts:
            sampler: Sampler = bench.build()
            return sampler
    raise ValueError(f"no sampler is any of {', '.join(sorted(accepts))}")


def process_for(provides: frozenset[str]) -> Process:
    """A process for a sampler that provides these abilities."""
    registry = load_registry()
    for name in ("gaussian", *registry.names("process")):
        bench = Bench(registry.get("process", name))
        if provides & getattr(bench.provided.spec, "accepts", frozenset()):
            process: Process = bench.build()
            return process
    raise ValueError(f"no process accepts any of {', '.join(sorted(provides)) or 'nothing'}")


class _Same(nn.Module):
    """A conditioner that changes nothing."""

    num_tokens = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, C, V) -> the same."""
        return tokens
