"""A component's answer to fixed inputs, as one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from addkit.diffusion import Clean, corrupt
from addkit.plugin.facts import Column, SideInputs
from addkit.plugin.values import ChainSettings
from addkit.samplers.blocks import sample
from addkit.testing.fakes import images_of, network_of, process_for, steps_of
from addkit.testing.small_problem import COPIES, IMAGES, Bench, SkippedError
from addkit.to_one.argmax import ArgMax


def generator(seed: int = 2) -> torch.Generator:
    """Always the same."""
    return torch.Generator().manual_seed(seed)


def tokens_of(bench: Bench) -> Tensor:
    """Encoder tokens (B, L, W)."""
    problem = bench.problem
    return bench.normal(IMAGES, problem.num_encoder_tokens, problem.encoder_width)


def levels_of(bench: Bench) -> Tensor:
    """Some levels of alpha_bar, (B, R, N)."""
    labels = bench.labels()
    levels = torch.tensor(bench.example.levels)
    return levels[torch.arange(labels.numel()) % len(levels)].view(labels.shape)


def denoised(bench: Bench, built: Any, copies: int = COPIES) -> Tensor:
    """Features of a denoiser on fixed inputs, (B, R, N, D)."""
    problem = bench.problem
    condition = bench.normal(IMAGES, problem.num_condition_tokens, problem.condition_width, seed=3)
    h = bench.normal(IMAGES, copies, problem.num_tokens, built.width, seed=4)
    t = torch.linspace(0.1, 0.9, copies)[:, None].expand(IMAGES, copies, problem.num_tokens)
    features: Tensor = built(h, t, built.prepare(condition))
    return features


def _encoder(bench: Bench, built: Any) -> Tensor:
    tokens: Tensor = built(images_of(bench))
    return tokens


def condition_of(bench: Bench, built: Any, count: int = IMAGES) -> Tensor:
    """The condition of the first `count` images, and of what is known beside them."""
    tokens = tokens_of(bench)[:count]
    side_inputs = (
        (_side_inputs(bench, count),) if getattr(built, "reads_side_inputs", False) else ()
    )
    condition: Tensor = built(tokens, *side_inputs)
    return condition


def _side_inputs(bench: Bench, count: int) -> SideInputs:
    """Each column, some of it missing."""
    return {column.name: _rows(column, count) for column in bench.problem.columns}


def _rows(column: Column, count: int) -> Tensor | tuple[str, ...]:
    if column.kind == "text":
        return ("two words", "", "one")[:count]
    if column.kind == "category":
        return torch.arange(count) % (len(column.categories) + 1) - 1
    return torch.tensor([0.5, torch.nan, -1.0])[:count]


def _embedding(bench: Bench, built: Any) -> Tensor:
    labels, levels, problem = bench.labels(), levels_of(bench), bench.problem
    noisy = corrupt(labels, levels, problem.num_classes, generator(), problem.scale)
    drawn = built.draw(labels, levels, generator())
    return torch.cat([built.read(noisy.y_t, levels), drawn])


def _schedule(bench: Bench, built: Any) -> Tensor:
    alpha_bar: Tensor = built.alpha_bar(torch.linspace(0, 1, 33))
    return alpha_bar


def _times(bench: Bench, built: Any) -> Tensor:
    if built is None:
        raise SkippedError("stands for nothing")
    t: Tensor = built(torch.linspace(0, 1, 33))
    return t


def _loss(bench: Bench, built: Any) -> Tensor:
    labels, problem = bench.labels(), bench.problem
    outputs = bench.normal(*labels.shape, problem.num_classes)
    noise = bench.normal(*labels.shape, problem.num_classes, seed=5)
    losses: Tensor = built(outputs, labels, torch.full(labels.shape, 0.5), noise)
    return losses


def _to_one(bench: Bench, built: Any) -> Tensor:
    logits = bench.normal(*bench.labels().shape, bench.problem.num_classes)
    clean: Clean = built(logits, generator())
    return clean.dense(bench.problem.num_classes)


def _sampler(bench: Bench, built: Any) -> Tensor:
    """The last step's logits of chains on a small network, (B, R, N, K)."""
    network = network_of(process_for(bench.provides), bench.problem.num_classes, 3)
    condition, settings = bench.normal(IMAGES, 4, 16), ChainSettings(steps=3, chains=2)
    *_, last = sample(network, condition, built, ArgMax(), settings, generator())
    logits: Tensor = last.logits
    return logits


def _read_out(bench: Bench, built: Any) -> Tensor:
    answer = built.read(steps_of(bench), lambda labels: -labels.float().sum(-1))
    probabilities: Tensor = answer.probabilities
    return probabilities


RUNS: dict[str, Callable[[Bench, Any], Tensor]] = {
    "encoder": _encoder,
    "conditioner": condition_of,
    "embedding": _embedding,
    "denoiser": denoised,
    "schedule": _schedule,
    "timesteps": _times,
    "loss": _loss,
    "to_one": _to_one,
    "sampler": _sampler,
    "read_out": _read_out,
}
