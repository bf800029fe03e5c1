"""What a training would be, without training: sizes, steps, memory and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from addkit.model import Network, build_data, build_network
from addkit.plugin.protocols import DataFacts
from addkit.recipe import Recipe
from addkit.training.checks import check_training
from addkit.training.plan import Plan

__all__ = ["dry_run"]

FLOAT_BYTES = 4


def dry_run(recipe: Recipe) -> dict[str, Any]:
    """Resolve everything and build the network on the meta device. Reads no image, writes nothing.

    Returns:
        parameters {encoder, denoiser, projections, total}; global_batch, per_process_batch,
        accumulation, processes, steps_per_epoch, steps, warmup_steps; learning_rate (the peak, as
        scaled) and how it came about; memory, bytes for each process by part; files to be read.
    """
    facts = build_data(recipe).facts
    check_training(recipe, facts)
    plan = Plan.of(recipe, facts.split_sizes["train"])
    network = build_network(recipe, facts, device="meta")
    if recipe.distributed.recompute_activations:
        network.recompute_activations()
    numbers = asdict(plan)
    peak = numbers.pop("peak_lr")
    return {
        "recipe": recipe.name,
        "parameters": asdict(network.parameter_counts()),
        **numbers,
        "epochs": recipe.training.epochs,
        "learning_rate": peak,
        "learning_rate_rule": _rule(recipe),
        "memory": memory(recipe, facts, network, plan),
        "classes": facts.num_classes,
        "tokens": facts.num_tokens,
        "notes": dict(facts.notes),
        "splits": dict(facts.split_sizes),
        "files": [str(file) for file in (*recipe.files, *facts.files)],
    }


def _rule(recipe: Recipe) -> str:
    training = recipe.training
    if training.lr is not None:
        return "lr as given"
    return f"base_lr {training.base_lr:g} x batch {training.batch_size} / 256"


def memory(recipe: Recipe, facts: DataFacts, network: Network, plan: Plan) -> dict[str, int]:
    """Estimated bytes on each process: what is kept, and activations of one micro-batch."""
    total = network.parameter_counts().total * FLOAT_BYTES
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad) * FLOAT_BYTES
    parts = {
        "weights": total,
        "averaged_weights": total if recipe.training.ema else 0,
        "gradients": trained,
        "optimizer": 2 * trained,
        "activations": _activations(recipe, facts, network, plan.per_process_batch),
    }
    return {**parts, "total": sum(parts.values())}


def _activations(recipe: Recipe, facts: DataFacts, network: Network, batch: int) -> int:
    """Bytes that autograd keeps between forward and backward, counted on the meta device.

    bf16 autocast keeps most of them in half the size; norms and softmaxes stay in fp32.
    """
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[id(tensor)] = tensor
        return tensor

    reuse, tokens, diffusion = recipe.training.reuse, facts.num_tokens, network.diffusion
    size = (facts.image_channels, facts.image_size, facts.image_size)
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        condition = network.condition(torch.empty(batch, *size))
        h = torch.empty(batch, reuse, tokens, diffusion.denoiser.width)
        t = torch.empty(batch, reuse, tokens)
        features = diffusion.denoiser(h, t, diffusion.prepare(condition))
        diffusion.output(features)
    total = sum(x.numel() * x.element_size() for x in kept.values())
    return total // 2 if recipe.training.precision == "bfloat16" else total
