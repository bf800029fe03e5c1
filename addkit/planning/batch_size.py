"""`training.batch_size = "auto"`: the largest power of two that fits, chosen when a run begins."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from addkit.errors import AddkitWarning, RecipeError
from addkit.model import build_network, build_task, problem_of
from addkit.planning.memory import estimate_memory
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.training.backend import pick_device
from addkit.training.engine import LossModule
from addkit.training.optimizer import build_optimizer
from addkit.training.plan import FEWEST_STEPS, Plan

LEAST, MOST, MOST_ON_CPU = 8, 1024, 64
"""Images of a global batch; fewer where the data are few. On a CPU larger ones are no faster."""
MARGIN = 0.8
"""Share of the free memory that the estimate may take: allocators and kernels need the rest."""


def with_batch_size(recipe: Recipe, facts: DataFacts, processes: int = 1) -> Recipe:
    """The recipe with a number in place of `batch_size = "auto"`, with a line that names it.

    The run's own recipe has the number, so that a resumed training, on whatever machine, goes on
    with it.

    Args:
        recipe: returned as it is if it has a number.
        facts: of its data.
        processes: that share the batch; each computes on a device like this process's.

    Raises:
        RecipeError: a batch of 8, or of the data, does not fit.
    """
    training = recipe.training
    if training.batch_size != "auto":
        return recipe
    device = pick_device()
    data = 2 ** max((facts.split_sizes["train"] // FEWEST_STEPS).bit_length() - 1, 0)
    size = min(MOST if device == "cuda" else MOST_ON_CPU * processes, data)
    size = max(1 << (size.bit_length() - 1), processes)
    least = min(LEAST, size)
    while True:
        numbered = replace(recipe, training=training.model_copy(update={"batch_size": size}))
        if _fits(numbered, facts, processes, device):
            break
        if size // 2 < max(least, processes):
            raise RecipeError(
                f"{recipe.source}: [training] batch_size: not even {size} images fit into the "
                "memory that is free; set distributed.recompute_activations = true, or take a "
                "smaller network"
            )
        size //= 2
    rule = "the learning rate follows base_lr"
    if training.lr is not None:
        rule = "lr stays as given; with base_lr in its place it would follow"
    warnings.warn(
        f"[training] batch_size auto is {size}, by the free memory, the {device} and the number of "
        f"images; {rule}",
        AddkitWarning,
        stacklevel=2,
    )
    return numbered


def _fits(recipe: Recipe, facts: DataFacts, processes: int, device: str) -> bool:
    plan = Plan.of(recipe, facts.split_sizes["train"], processes)
    network = build_network(recipe, facts, device="meta")
    if recipe.distributed.recompute_activations:
        network.recompute_activations()
    needed = sum(estimate_memory(recipe, facts, network, plan).memory.values())
    # Processes share the main memory; each has a GPU of its own.
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else free_memory() // processes
    if needed > MARGIN * free:
        return False
    return device != "cuda" or _takes_a_step(recipe, facts, plan)


def free_memory() -> int:
    """Bytes of main memory that are free, or used by caches alone; half of it all if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _takes_a_step(recipe: Recipe, facts: DataFacts, plan: Plan) -> bool:
    """False if a real step of one micro-batch runs out of a GPU's memory."""
    try:
        network = build_network(recipe, facts).to("cuda").train()
        module = LossModule(network, build_task(recipe, problem_of(recipe, facts)), recipe)
        optimizer = build_optimizer(network, recipe.training, plan.peak_lr)
        size = (facts.image_channels, facts.image_size, facts.image_size)
        images = torch.zeros(plan.per_process_batch, *size, device="cuda")
        first = [start for start, _ in facts.token_classes] or [0] * facts.num_tokens
        labels = torch.tensor(first, device="cuda")
        labels = labels.expand(len(images), recipe.training.reuse, -1)
        module(images, labels, torch.Generator("cuda")).total.backward()
        optimizer.step()
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True
