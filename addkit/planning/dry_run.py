"""What a training would be, without training: sizes, steps, memory, communication, time, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch

from addkit.data.overview import check_data
from addkit.diffusion import counted_generator
from addkit.distributed.launch import processes_here
from addkit.model import (
    InputPlan,
    ParameterCounts,
    build_data,
    build_network,
    build_task,
    problem_of,
)
from addkit.planning.batch_size import with_batch_size
from addkit.planning.flops import named_peak, step_flops
from addkit.planning.memory import Traffic, estimate_memory
from addkit.plugin.values import DataFacts
from addkit.recipe import Recipe
from addkit.training.backend import pick_device
from addkit.training.checks import check_budget, check_shards, check_training
from addkit.training.engine import LossModule
from addkit.training.features import FeaturePlan, in_last_stage, plan_features
from addkit.training.optimizer import build_optimizer
from addkit.training.plan import Plan

BANDWIDTHS = (25, 100, 400)
"""Gbit/s of each process: two kinds of Ethernet, and one port of InfiniBand for each GPU."""
MOST_IMAGES, STEPS = 8, 3
"""In a measurement of speed: images at a time, and steps after the first."""


@dataclass(frozen=True, slots=True)
class Communication:
    """Bytes that each process sends in one optimizer step, and how long that takes."""

    strategy: str
    weights: int
    gradients: int
    total: int
    seconds: dict[str, float]
    """By bandwidth."""

    @classmethod
    def of(cls, strategy: str, traffic: Traffic, accumulation: int) -> Communication:
        """The communication of a step with so many micro-batches on each process."""
        total = traffic.of_step(accumulation)
        # 8 bits a byte; latency is not counted.
        seconds = {f"{speed} Gbit/s": 8 * total / (speed * 1e9) for speed in BANDWIDTHS}
        return cls(strategy, total - traffic.reduced, traffic.reduced, total, seconds)


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """From the speed of one process; evaluation, checkpoints and communication come on top."""

    images_per_second: float
    source: str
    step_seconds: float
    epoch_seconds: float
    seconds: float
    gpu_hours: float
    """Of all processes, a GPU for each."""

    @classmethod
    def of(cls, plan: Plan, images_per_second: float, source: str) -> TimeEstimate:
        """The time of a plan whose processes run side by side."""
        step = plan.per_process_batch * plan.accumulation / images_per_second
        epoch = step * plan.steps_per_epoch
        seconds = step * plan.steps
        hours = seconds * plan.processes / 3600
        return cls(images_per_second, source, step, epoch, seconds, hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The plan of a training and what it would cost."""

    recipe: str
    parameters: ParameterCounts
    plan: Plan
    learning_rate_rule: str
    """How the peak learning rate came about."""
    memory: Mapping[str, int]
    """Bytes on each process by part, and in total."""
    communication: Communication
    time: TimeEstimate | None
    """None where no speed is known."""
    input: InputPlan
    classes: int
    class_counts: Mapping[str, Mapping[str, int]]
    """Attribute, "" for a single label -> class -> training images, where they are listed."""
    left_out: str
    """What was left out of the data's folder; empty if nothing was."""
    contents: tuple[tuple[str, str], ...]
    """The same for people; see `Overview.rows`."""
    features: FeaturePlan | None
    """Cached features of a frozen encoder."""
    tokens: int
    notes: Mapping[str, int]
    splits: Mapping[str, int]
    files: tuple[str, ...]
    """Files that the training would read."""

    def data(self) -> dict[str, Any]:
        """As JSON has it, with the plan's numbers among the others."""
        rest = asdict(self)
        del rest["contents"]
        recipe, parameters, plan = (rest.pop(name) for name in ("recipe", "parameters", "plan"))
        peak = plan.pop("peak_lr")
        return {"recipe": recipe, "parameters": parameters, **plan, "learning_rate": peak, **rest}


def dry_run(
    recipe: Recipe,
    processes: int | None = None,
    images_per_second: float | None = None,
    *,
    measure: bool = False,
    mfu: float | None = None,
    gpu: str = "A100",
) -> DryRun:
    """Resolve everything and build the network without memory. Reads no image, writes nothing.

    Args:
        recipe: the experiment.
        processes: of the training, which need not exist; None: those that a training would start.
        images_per_second: of one process, for an estimate of the time.
        measure: take the speed of a few real steps on this machine instead.
        mfu: derive it instead from the operations of a step, at this share of a GPU's peak, in
            percent.
        gpu: that GPU; see `PEAKS`.
    """
    source = build_data(recipe)
    facts, training = source.facts, recipe.training
    check_training(recipe, facts)
    overview = check_data(source)
    count = processes_here(recipe, processes)
    recipe = with_batch_size(recipe, facts, count)
    plan = Plan.of(recipe, facts.split_sizes["train"], count)
    check_budget(recipe, facts, plan)
    check_shards(recipe, source, plan)
    network = build_network(recipe, facts, device="meta")
    if recipe.distributed.recompute_activations:
        network.recompute_activations()
    # Counted now: the estimate of memory uses the network up.
    parameters = network.parameter_counts()
    features = plan_features(recipe, facts, network)
    # Of the stage that takes most, where there are two.
    in_last_stage(recipe, facts, network)
    estimate = estimate_memory(recipe, facts, network, plan)
    speed_source = "given"
    if measure:
        images_per_second = measure_speed(recipe, facts, plan)
        images = min(plan.per_process_batch, MOST_IMAGES)
        device = pick_device()
        speed_source = f"measured here: one process on {device}, {STEPS} steps of {images} images"
    elif mfu is not None:
        peak, flops = named_peak(gpu, training.precision), step_flops(recipe, facts)
        images_per_second = mfu / 100 * peak / flops
        speed_source = (
            f"at {mfu:g} % of {peak / 1e12:g} TFLOP/s, {gpu}'s peak in {training.precision}; "
            f"{flops / 1e9:,.1f} GFLOP an image"
        )
    rule = "lr as given"
    if training.lr is None:
        rule = f"base_lr {training.base_lr:g} x batch {plan.global_batch} / 256"
    return DryRun(
        recipe=recipe.name,
        parameters=parameters,
        plan=plan,
        learning_rate_rule=rule,
        memory={**estimate.memory, "total": sum(estimate.memory.values())},
        communication=Communication.of(
            recipe.distributed.strategy if plan.processes > 1 else "one process",
            estimate.traffic,
            plan.accumulation,
        ),
        time=TimeEstimate.of(plan, images_per_second, speed_source) if images_per_second else None,
        input=InputPlan.of(recipe, facts),
        classes=facts.num_classes,
        class_counts=overview.counts,
        left_out=overview.left_out,
        contents=tuple(overview.rows()),
        features=features,
        tokens=facts.num_tokens,
        notes=dict(facts.notes),
        splits=dict(facts.split_sizes),
        files=tuple(str(file) for file in (*recipe.files, *facts.files)),
    )


def measure_speed(recipe: Recipe, facts: DataFacts, plan: Plan) -> float:
    """Images per second of one process here: forward, backward and optimizer, nothing loaded."""
    device, images = pick_device(), min(plan.per_process_batch, MOST_IMAGES)
    network = build_network(recipe, facts).to(device)
    size = in_last_stage(recipe, facts, network)
    network.train()
    module = LossModule(network, build_task(recipe, problem_of(recipe, facts)), recipe)
    optimizer = build_optimizer(network, recipe.training)
    pixels = torch.zeros(images, *size, device=device)
    # A class that each token can take; which one does not matter for the speed.
    first = [start for start, _ in facts.token_classes] or [0] * facts.num_tokens
    labels = torch.tensor(first, device=device).expand(images, recipe.training.reuse, -1)

    def now() -> float:
        if device == "cuda":
            # Kernels run behind the host; the clock may be read once they are done.
            torch.cuda.synchronize()
        return perf_counter()

    start = 0.0
    for number in range(STEPS + 1):
        if number == 1:
            # The first step warms up: it allocates memory and chooses kernels.
            start = now()
        noise = counted_generator(recipe.seed, "dry run", number, device=device)
        module(pixels, labels, noise).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return STEPS * images / (now() - start)
