"""Fixed inputs, and a component's output for them as one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from addkit.diffusion import Clean, corrupt
from addkit.plugin.values import ChainSettings
from addkit.samplers.blocks import sample
from addkit.testing.fakes import images_of, network_of, process_for, steps_of
from addkit.testing.small_problem import COPIES, IMAGES, Bench, SkippedError
from addkit.to_one.operators import ArgMax


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
    """The component's output for fixed inputs, whatever its kind, as one tensor.

    Raises:
        SkippedError: components of this kind compute no tensor.
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
