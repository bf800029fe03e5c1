"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from addkit.data.augmentation import mix
from addkit.data.captions import pick_answers
from addkit.diffusion import counted_generator, counted_seed
from addkit.distributed.batch_norm import RunningStatistics
from addkit.distributed.signals import INTERRUPTED, TERMINATED
from addkit.errors import RunError, Stopped
from addkit.plugin.facts import Batch
from addkit.plugin.values import TimedLosses
from addkit.runs.checkpoint import Progress
from addkit.training.gradients import norm_of, rescale
from addkit.training.job import Job, parameters
from addkit.training.plan import learning_rate
from addkit.training.step import StepValue
from addkit.training.stopwatch import Stopwatch

COLUMNS = ("t", "losses", "weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimizer step, over all processes."""

    step: int
    """Steps taken, this one included."""
    loss: float
    accuracy: float
    """Share of noisy tokens predicted right, pads aside, in percent."""
    gradient_norm: float
    lr: float
    images: int
    seconds: float
    """Wall time, waiting for data included."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Where the seconds went on the leading process."""
    real_loss: float | None = None
    """Of captions: mean over words and ends, and, apart, over the pads behind them."""
    pad_loss: float | None = None


@dataclass(frozen=True, slots=True)
class _Done:
    """What a step was like, over all processes."""

    values: dict[str, float]
    norm: float
    stop: int
    """Exit code of whoever was asked to stop; 0: go on."""
    save: bool
    times: TimedLosses | None


class Watcher(Protocol):
    """Somebody who looks on. Every process has one."""

    def step(self, job: Job, report: StepReport, times: TimedLosses | None) -> None:
        """After each optimizer step; with what tokens cost at their times."""
        ...

    def epoch(self, job: Job, epoch: int) -> None:
        """After each epoch, behind its checkpoint; again after a resume, if it had no time."""
        ...


def fit(job: Job, watcher: Watcher) -> None:
    """Train from where the job stands to its last step; checkpoint on the way.

    Raises:
        RunError: the loss or the gradient is not finite; names step, images and last checkpoint.
        Stopped: a signal asked for it; the job is saved.
    """
    plan = job.plan
    done, into = divmod(job.progress.step, plan.steps_per_epoch)
    if done and not into:
        watcher.epoch(job, done - 1)
    for epoch in range(done, job.recipe.training.epochs):
        _epoch(job, watcher, epoch)
        watcher.epoch(job, epoch)


def _epoch(job: Job, watcher: Watcher, epoch: int) -> None:
    job.network.train()
    watch = Stopwatch(job.device)
    statistics = RunningStatistics(job.network, job.world, job.plan.parts)
    steps = job.steps(epoch)
    begin = perf_counter()
    while micro_batches := _next(steps, watch):
        done = _step(job, micro_batches, statistics, watch)
        seconds = perf_counter() - begin
        begin = perf_counter()
        job.progress = Progress(job.progress.step + 1, job.progress.seconds + seconds)
        watcher.step(job, _report(job, done, seconds, watch.seconds()), done.times)
        with watch.part("checkpoint"):
            _save_if_due(job, done, epoch)


def _next(steps: Iterator[list[Batch]], watch: Stopwatch) -> list[Batch]:
    with watch.part("data"):
        return next(steps, [])


def _save_if_due(job: Job, done: _Done, epoch: int) -> None:
    """Where all processes agree that it is time: somebody asks to stop, or the recipe does."""
    last = job.progress.step == (epoch + 1) * job.plan.steps_per_epoch
    every, epochs = job.recipe.checkpoints.every, job.recipe.training.epochs
    due = last and ((epoch + 1) % every == 0 or epoch + 1 == epochs)
    if done.stop:
        job.save(wait=True)
        raise Stopped(f"{job.stop.why}; saved after step {job.progress.step}", done.stop)
    if due or done.save:
        job.save()


def _step(
    job: Job, micro_batches: list[Batch], statistics: RunningStatistics, watch: Stopwatch
) -> _Done:
    """One optimizer step over this process's micro-batches."""
    training, network = job.recipe.training, job.network
    job.engine.optimizer.zero_grad(set_to_none=True)
    statistics.begin()
    values = []
    for number, batch in enumerate(micro_batches):
        last = number + 1 == len(micro_batches)
        with job.engine.accumulating(last):
            values.append(_forward(job, batch, number, watch))
            statistics.collect()
            if last:
                # Small messages cost waiting, not bytes, so they travel behind the backward pass.
                statistics.send()
                arrived = job.world.all_reduce_async(_summed(job, values))
            with watch.part("backward"):
                values[-1].scaled.backward()  # type: ignore[no-untyped-call]
        statistics.rewind()
    with watch.part("communication"):
        statistics.settle()
        trained = parameters(network)
        norm = norm_of(trained)
        told, size = arrived().tolist(), norm.item()
    alike = job.plan.parts * values[0].tokens
    factor = alike / told[1] if told[1] else 1.0
    done = _told(job, told, size * factor, values)
    if not (math.isfinite(done.values["loss"]) and math.isfinite(size)):
        raise RunError(_not_finite(job, done, micro_batches))
    with watch.part("optimizer"):
        rescale(trained, norm, factor, training.clip_norm)
        for group in job.engine.optimizer.param_groups:
            group["lr"] = learning_rate(job.progress.step, job.plan, training.min_lr)
        job.engine.optimizer.step()
        _learn_times(job, done.times)
        if job.engine.average is not None:
            job.engine.average.update_parameters(network)
    return done


def _forward(job: Job, batch: Batch, turn: int, watch: Stopwatch) -> StepValue:
    """Micro-batch number `turn` of this process in the step."""
    recipe, device, step = job.recipe, job.device, job.progress.step
    number = turn * job.plan.processes + job.world.rank
    with watch.part("forward"):
        generator = counted_generator(recipe.seed, "train", step, number, device=device)
        torch.manual_seed(counted_seed(recipe.seed, "dropout", step, number))
        labels = pick_answers(batch, recipe.training.reuse, generator)
        labels = labels.to(device, non_blocking=True)
        images = batch.images.to(device, non_blocking=True)
        images, labels = mix(images, labels, recipe.augmentation, generator)
        return job.engine(images, labels, generator, batch.side_inputs)


def _summed(job: Job, values: list[StepValue]) -> Tensor:
    """What all processes add up: the values' sums, and who wants to stop or to save."""
    minutes = job.recipe.checkpoints.minutes
    save = job.world.is_main and 0 < minutes <= job.minutes_since_save
    asked = [job.stop.exit_code == code for code in (TERMINATED, INTERRUPTED)]
    wishes = torch.zeros(3, device=job.device)
    for place, wish in enumerate([*asked, save]):
        # Copied from the host they would hold up a GPU until it has done all before.
        if wish:
            wishes[place] = 1.0
    return torch.cat([torch.stack([value.sums.detach() for value in values]).sum(0), wishes])


def _told(job: Job, sums: list[float], norm: float, values: list[StepValue]) -> _Done:
    total, count, accuracy, real, pad, terminated, interrupted, save = sums
    stop = INTERRUPTED if interrupted else TERMINATED if terminated else 0
    parts = job.plan.parts
    shown = {"loss": total / count if count else 0.0, "accuracy": 100 * accuracy / parts}
    if values[0].captions:
        shown |= {"real_loss": real / parts, "pad_loss": pad / parts}
    return _Done(shown, norm, stop, save > 0, _times(job, values))


def _times(job: Job, values: list[StepValue]) -> TimedLosses | None:
    """What tokens cost at their times: here, or everywhere if the network learns from it."""
    told = [value.times for value in values]
    if any(one is None for one in told):
        return None
    columns = [torch.stack([getattr(one, name) for one in told]) for name in COLUMNS]
    if job.network.diffusion.timesteps is not None:
        # In the order of micro-batches, whoever computed them.
        columns = [job.world.all_gather_tensor(column).transpose(0, 1) for column in columns]
    return TimedLosses(*(column.flatten() for column in columns))


def _learn_times(job: Job, timed: TimedLosses | None) -> None:
    """From the whole step at once, however many micro-batches it is cut into."""
    times = job.network.diffusion.timesteps
    if times is not None and timed is not None:
        times.learn(timed.t, timed.losses, timed.drawn)


def _report(job: Job, done: _Done, seconds: float, parts: Mapping[str, float]) -> StepReport:
    step = job.progress.step
    return StepReport(
        step=step,
        gradient_norm=done.norm,
        lr=learning_rate(step - 1, job.plan, job.recipe.training.min_lr),
        images=job.plan.global_batch,
        seconds=seconds,
        parts=parts,
        **done.values,
    )


def _not_finite(job: Job, done: _Done, micro_batches: list[Batch]) -> str:
    job.writer.wait()
    loss = done.values["loss"]
    what = f"gradient norm is {done.norm}" if math.isfinite(loss) else f"loss is {loss}"
    own = [job.images.source(index) for batch in micro_batches for index in batch.indices]
    sources = [source for each in job.world.all_gather(own) for source in each]
    shown = ", ".join(sources[:8]) + (f" and {len(sources) - 8} more" if sources[8:] else "")
    return (
        f"{job.run.path}: {what} at step {job.progress.step + 1}; its images: {shown}. "
        f"The last good checkpoint is {job.writer.saved or job.saved}. "
        "Look at these images, or lower training.lr, or set training.precision to float32"
    )
