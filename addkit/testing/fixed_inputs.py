"""Fixed inputs: images, chains, answers, a small network, and a component's output for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from addkit.denoisers.settings import TransformerConfig
from addkit.denoisers.transformer import TransformerDenoiser
from addkit.diffusion import Answer, ChainStep, Clean, LabelDiffusion, corrupt
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.errors import UsageError
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin import load_registry
from addkit.plugin.protocols import Process, Sampler
from addkit.plugin.values import ChainSettings
from addkit.samplers.blocks import sample
from addkit.schedules.closed_form import CosineSchedule
from addkit.schedules.settings import CosineConfig
from addkit.testing.small_problem import COPIES, IMAGES, Bench, SkippedError, need, shaped
from addkit.to_one.operators import ArgMax

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


def network_of(
    process: Process, num_classes: int, num_tokens: int, width: int = 16, **parts: Any
) -> LabelDiffusion:
    """A small network with random weights, its output layer's too, in evaluation mode.

    `parts` replace its embedding, denoiser or schedule; the first two have the given width.
    """
    # Tokens see each other, so that a law about orders can fail.
    config = TransformerConfig.model_validate({"width": width, "depth": 1, "heads": 2})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = {
            "embedding": PosteriorEmbedding(num_classes, width, 1.0, spread=0.5, largest=16),
            "denoiser": TransformerDenoiser(config, 16, num_tokens),
            "schedule": CosineSchedule(CosineConfig.model_validate({})),
        }
        network = LabelDiffusion(
            **{**own, **parts},
            conditioner=_Same(16),
            loss=CrossEntropy(0.0),
            process=process,
            num_classes=num_classes,
            num_tokens=num_tokens,
        )
        # It begins at 0, with which every logit is equal and no chain changes.
        nn.init.normal_(network.output.weight)
    return network.eval()


def likelihoods_sum_to_one(network: LabelDiffusion) -> None:
    """Raise `LawBrokenError` unless the probabilities of all sequences of labels sum to 1.

    A bound on the likelihood, one that looks ahead, and one that depends on a draw of noise sum to
    another number. Raises `SkippedError` where the process has no likelihood.
    """
    # K^N sequences, (S, N).
    labels = range(network.num_classes)
    every = torch.tensor(list(itertools.product(labels, repeat=network.num_tokens)))
    condition = torch.randn((1, 4, 16), generator=generator(1))
    try:
        with torch.no_grad():
            prepared = network.prepare(condition)
            log_p = network.process.likelihood(network, prepared, every.unsqueeze(0))
    except UsageError as error:
        raise SkippedError(str(error)) from None
    shaped("log p", log_p, (1, len(every)))
    total = float(log_p.double().exp().sum())
    need(abs(total - 1) < 1e-5, f"they sum to {total:.6g}")


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


def generator(seed: int = 2) -> torch.Generator:
    """A fresh generator: two calls with one seed draw the same."""
    return torch.Generator().manual_seed(seed)


def tokens_of(bench: Bench) -> Tensor:
    """Encoder tokens (B, L, W)."""
    problem = bench.problem
    return bench.normal(IMAGES, problem.num_encoder_tokens, problem.encoder_width)


def levels_of(bench: Bench) -> Tensor:
    """Some levels of alpha_bar, (B, R, N)."""
    labels = bench.labels()
    # Every level in turn, so that neighbours differ along each axis.
    levels = torch.tensor(bench.example.levels)
    return levels[torch.arange(labels.numel()) % len(levels)].view(labels.shape)


def denoised(bench: Bench, built: Any, copies: int = COPIES) -> Tensor:
    """Features of a denoiser on fixed inputs, (B, R, N, D)."""
    problem = bench.problem
    condition = bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width, seed=3)
    # Inputs of one component differ in their seeds, or one would be a copy of the other.
    h = bench.normal(IMAGES, copies, problem.num_tokens, built.width, seed=4)
    # Each copy has a time of its own, as in training.
    t = torch.linspace(0.1, 0.9, copies)[:, None].expand(IMAGES, copies, problem.num_tokens)
    features: Tensor = built(h, t, built.prepare(condition))
    return features


def condition_of(bench: Bench, built: Any, count: int = IMAGES) -> Tensor:
    """The condition of the first `count` images and their side inputs, (count, C, V)."""
    tokens = tokens_of(bench)[:count]
    if not getattr(built, "reads_side_inputs", False):
        condition: Tensor = built(tokens)
        return condition
    side_inputs: dict[str, Tensor | tuple[str, ...]] = {}
    # Some values of each column are missing: a conditioner must cope with that.
    for column in bench.problem.columns:
        if column.kind == "text":
            side_inputs[column.name] = ("two words", "", "one")[:count]
        elif column.kind == "category":
            side_inputs[column.name] = torch.arange(count) % (len(column.categories) + 1) - 1
        else:
            side_inputs[column.name] = torch.tensor([0.5, torch.nan, -1.0])[:count]
    with_inputs: Tensor = built(tokens, side_inputs)
    return with_inputs


def output(bench: Bench, built: Any) -> Tensor:
    """The component's output for fixed inputs, whatever its kind, as one tensor. Raises
    `SkippedError` if components of this kind compute no tensor.
    """
    problem, labels = bench.problem, bench.labels()  # (B, R, N)
    result: Tensor
    match bench.kind:
        case "encoder":
            result = built(images_of(bench))  # (B, L, W)
        case "conditioner":
            result = condition_of(bench, built)
        case "embedding":
            levels = levels_of(bench)
            noisy = corrupt(labels, levels, problem.num_classes, generator(), problem.scale)
            drawn = built.draw(labels, levels, generator())
            result = torch.cat([built.read(noisy.y_t, levels), drawn])  # (2B, R, N, D)
        case "denoiser":
            result = denoised(bench, built)
        case "schedule":
            result = built.alpha_bar(torch.linspace(0, 1, 33))
        case "timesteps":
            if built is None:
                raise SkippedError("stands for nothing")
            result = built(torch.linspace(0, 1, 33))
        case "loss":
            outputs = bench.normal(*labels.shape, problem.num_classes)  # (B, R, N, K)
            # Another seed: noise equal to the outputs would be a loss of 0.
            noise = bench.normal(*labels.shape, problem.num_classes, seed=5)
            result = built(outputs, labels, torch.full(labels.shape, 0.5), noise)
        case "to_one":
            logits = bench.normal(*labels.shape, problem.num_classes)
            clean: Clean = built(logits, generator())
            result = clean.dense(problem.num_classes)
        case "sampler":
            # Three tokens, whatever the problem has: of one token every order is the same.
            network = network_of(process_for(bench.provides), problem.num_classes, 3)
            condition, settings = bench.normal(IMAGES, 4, 16), ChainSettings(steps=3, chains=2)
            *_, last = sample(network, condition, built, ArgMax(), settings, generator())
            result = last.logits  # (B, R, N, K)
        case "read_out":
            answer = built.read(steps_of(bench), lambda labels: -labels.float().sum(-1))
            result = answer.probabilities  # (B, N, K)
        case _:
            raise SkippedError("is no function of tensors")
    return result
