"""What a training would be, without training: sizes, steps, memory, traffic, time and files."""

from __future__ import annotations

from dataclasses import asdict
from time import perf_counter
from typing import Any

import torch

from addkit.diffusion import counted_generator
from addkit.distributed.launch import processes_here
from addkit.model import build_data, build_network, build_task, problem_of
from addkit.planning.communication import Traffic
from addkit.planning.memory import footprint
from addkit.plugin.facts import DataFacts
from addkit.recipe import Recipe
from addkit.training.checks import check_shards, check_training
from addkit.training.environment import pick_device
from addkit.training.optimizer import build_optimizer
from addkit.training.plan import Plan
from addkit.training.step import TrainingStep

BANDWIDTHS = (25, 100, 400)
"""Gbit/s of each process: two kinds of Ethernet, and one port of InfiniBand for each GPU."""
MOST_IMAGES, STEPS = 8, 3
"""In a measurement of speed: images at a time, and steps after the first."""


def dry_run(
    recipe: Recipe,
    processes: int | None = None,
    images_per_second: float | None = None,
    *,
    measure: bool = False,
) -> dict[str, Any]:
    """Resolve everything and build the network without memory. Reads no image, writes nothing.

    Args:
        recipe: the experiment.
        processes: of the training, which need not exist; None: those that a training would start.
        images_per_second: of one process, for an estimate of the time.
        measure: take the speed of a few real steps on this machine instead.

    Returns:
        parameters {encoder, denoiser, projections, total}; global_batch, per_process_batch,
        accumulation, processes, steps_per_epoch, steps, warmup_steps; learning_rate (the peak, as
        scaled) and how it came about; memory, bytes for each process by part; wire, what each
        process sends; time; files to be read.
    """
    source = build_data(recipe)
    facts = source.facts
    check_training(recipe, facts)
    plan = Plan.of(recipe, facts.split_sizes["train"], processes_here(recipe, processes))
    check_shards(recipe, source, plan)
    network = build_network(recipe, facts, device="meta")
    if recipe.distributed.recompute_activations:
        network.recompute_activations()
    counts = asdict(network.parameter_counts())
    found = footprint(recipe, facts, network, plan)
    how = "given"
    if measure:
        images_per_second, how = measure_speed(recipe, facts, plan), _how(plan)
    numbers = asdict(plan)
    peak = numbers.pop("peak_lr")
    return {
        "recipe": recipe.name,
        "parameters": counts,
        **numbers,
        "epochs": recipe.training.epochs,
        "learning_rate": peak,
        "learning_rate_rule": _rule(recipe),
        "memory": {**found.memory, "total": sum(found.memory.values())},
        "wire": _wire(recipe, found.traffic, plan),
        "time": _time(plan, images_per_second, how),
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


def _wire(recipe: Recipe, traffic: Traffic, plan: Plan) -> dict[str, Any]:
    """Bytes that each process sends in one optimizer step, and how long that takes."""
    total = traffic.of_step(plan.accumulation)
    return {
        "strategy": recipe.distributed.strategy if plan.processes > 1 else "one process",
        "weights": total - traffic.reduced,
        "gradients": traffic.reduced,
        "total": total,
        "seconds": {f"{speed} Gbit/s": 8 * total / (speed * 1e9) for speed in BANDWIDTHS},
    }


def _time(plan: Plan, speed: float | None, source: str) -> dict[str, Any] | None:
    """From the speed of one process; evaluation, checkpoints and what the wire adds aside."""
    if speed is None:
        return None
    step = plan.per_process_batch * plan.accumulation / speed
    return {
        "images_per_second": speed,
        "source": source,
        "step_seconds": step,
        "epoch_seconds": step * plan.steps_per_epoch,
        "seconds": step * plan.steps,
    }


def _how(plan: Plan) -> str:
    images = min(plan.per_process_batch, MOST_IMAGES)
    return f"measured here: one process on {pick_device()}, {STEPS} steps of {images} images"


def measure_speed(recipe: Recipe, facts: DataFacts, plan: Plan) -> float:
    """Images per second of one process here: forward, backward and optimizer, nothing loaded."""
    device, images = pick_device(), min(plan.per_process_batch, MOST_IMAGES)
    network = build_network(recipe, facts).to(device).train()
    task = build_task(recipe, problem_of(recipe, facts))
    step = TrainingStep(network, task, recipe, 1)
    optimizer = build_optimizer(network, recipe.training)
    size = (facts.image_channels, facts.image_size, facts.image_size)
    pixels = torch.zeros(images, *size, device=device)
    first = [start for start, _ in facts.token_classes] or [0] * facts.num_tokens
    labels = torch.tensor(first, device=device).expand(images, recipe.training.reuse, -1)
    start = 0.0
    for number in range(STEPS + 1):
        if number == 1:  # The first one also warms up.
            start = _now(device)
        noise = counted_generator(recipe.seed, "dry run", number, device=device)
        step(pixels, labels, noise).scaled.backward()
        optimizer.step()
        optimizer.zero_grad()
    return STEPS * images / (_now(device) - start)


def _now(device: str) -> float:
    """When all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter()
