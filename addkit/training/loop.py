"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Protocol

import torch
from torch import nn

from addkit.data.mixing import mix, pick_answers
from addkit.diffusion import ObjectiveSettings, counted_generator, counted_seed, objective
from addkit.diffusion.times import TimedLosses
from addkit.errors import RunError
from addkit.plugin.protocols import Batch
from addkit.runs.checkpoint import Progress
from addkit.training.job import Job, parameters
from addkit.training.plan import learning_rate

__all__ = ["StepReport", "Watcher", "fit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimizer step."""

    step: int
    """Steps taken, this one included."""
    loss: float
    accuracy: float
    """Share of noisy tokens predicted right, pads aside, in percent."""
    gradient_norm: float
    lr: float
    images: int
    seconds: float
    real_loss: float | None = None
    """Of captions: mean over words and ends, and, apart, over the pads behind them."""
    pad_loss: float | None = None


class Watcher(Protocol):
    """Somebody who looks on."""

    def step(self, report: StepReport) -> None:
        """After each optimizer step."""
        ...

    def epoch(self, job: Job, epoch: int) -> None:
        """After each epoch, before its checkpoint."""
        ...


def fit(job: Job, watcher: Watcher) -> None:
    """Train from where the job stands to its last step; checkpoint on the way.

    Raises:
        RunError: the loss or the gradient is not finite; names step, images and last checkpoint.
    """
    training, plan = job.recipe.training, job.plan
    for epoch in range(job.progress.step // plan.steps_per_epoch, training.epochs):
        job.network.train()
        batches = job.micro_batches(epoch)
        while micro_batches := list(islice(batches, plan.accumulation)):
            start = perf_counter()
            values, norm = _step(job, micro_batches)
            job.progress = _advance(job.progress, perf_counter() - start)
            watcher.step(_report(job, values, norm, perf_counter() - start))
        watcher.epoch(job, epoch)
        if (epoch + 1) % training.checkpoint_every == 0 or epoch + 1 == training.epochs:
            job.save()


def _advance(progress: Progress, seconds: float) -> Progress:
    return Progress(progress.step + 1, progress.seconds + seconds)


def _step(job: Job, micro_batches: list[Batch]) -> tuple[dict[str, float], float]:
    """One optimizer step over this process's micro-batches: mean values, gradient norm."""
    step, training = job.progress.step, job.recipe.training
    job.optimizer.zero_grad(set_to_none=True)
    done = [
        _backward(job, batch, number * job.plan.processes + job.world.rank)
        for number, batch in enumerate(micro_batches)
    ]
    values = [told for told, _ in done]
    means = {name: sum(value[name] for value in values) / len(values) for name in values[0]}
    loss = means["loss"]
    norm = nn.utils.clip_grad_norm_(parameters(job.network), training.clip_norm or math.inf).item()
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise RunError(_not_finite(job, loss, norm, micro_batches))
    for group in job.optimizer.param_groups:
        group["lr"] = learning_rate(step, job.plan, training.min_lr)
    job.optimizer.step()
    _learn_times(job, [timed for _, timed in done if timed is not None])
    if job.average is not None:
        job.average.update_parameters(job.network)
    return means, norm


def _learn_times(job: Job, timed: list[TimedLosses]) -> None:
    """From the whole step at once, however many micro-batches it is cut into."""
    times = job.network.diffusion.times
    if times is not None and timed:
        times.learn(
            torch.cat([one.t for one in timed]),
            torch.cat([one.losses for one in timed]),
            torch.cat([one.weights for one in timed]),
        )


def _backward(job: Job, batch: Batch, number: int) -> tuple[dict[str, float], TimedLosses | None]:
    """Forward and backward of micro-batch `number` of the global batch.

    Returns:
        what a report shows, and what is learnt about times.
    """
    recipe, device, step = job.recipe, job.device, job.progress.step
    generator = counted_generator(recipe.seed, "train", step, number, device=device)
    torch.manual_seed(counted_seed(recipe.seed, "dropout", step, number))
    labels = pick_answers(batch, recipe.training.reuse, generator).to(device, non_blocking=True)
    images = batch.images.to(device, non_blocking=True)
    images, labels = mix(images, labels, recipe.augmentation, generator)
    low = recipe.training.precision == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        tokens = job.network.tokens(images)
        targets = job.task.targets(labels)
        value = objective(job.network.diffusion, tokens, targets, _settings(job), generator)
    (value.loss / job.plan.accumulation).backward()  # type: ignore[no-untyped-call]
    told = {"loss": value.loss.item(), "accuracy": 100 * value.accuracy.item()}
    if value.real_loss is not None and value.pad_loss is not None:
        told |= {"real_loss": value.real_loss.item(), "pad_loss": value.pad_loss.item()}
    return told, value.timed


def _settings(job: Job) -> ObjectiveSettings:
    training = job.recipe.training
    return ObjectiveSettings(
        stratified=training.stratified,
        pure_noise=training.pure_noise,
        condition_drop=training.condition_drop,
        token_times=training.token_times,
        rollout=training.rollout,
    )


def _report(job: Job, values: dict[str, float], norm: float, seconds: float) -> StepReport:
    step = job.progress.step
    return StepReport(
        step=step,
        gradient_norm=norm,
        lr=learning_rate(step - 1, job.plan, job.recipe.training.min_lr),
        images=job.plan.global_batch,
        seconds=seconds,
        **values,
    )


def _not_finite(job: Job, loss: float, norm: float, micro_batches: list[Batch]) -> str:
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
    sources = list(_sources(job, micro_batches))
    shown = ", ".join(sources[:8]) + (f" and {len(sources) - 8} more" if sources[8:] else "")
    return (
        f"{job.run.path}: {what} at step {job.progress.step + 1}; its images: {shown}. "
        f"The last good checkpoint is {job.saved}. "
        "Look at these images, or lower training.lr, or set training.precision to float32"
    )


def _sources(job: Job, micro_batches: list[Batch]) -> Iterator[str]:
    for batch in micro_batches:
        for index in batch.indices:
            yield job.images.source(index)
