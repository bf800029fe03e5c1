"""One network's training: open it, take its steps, save it, resume it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import torch
from torch import Tensor

from addkit.data.augmentation import mix
from addkit.data.captions import pick_answers
from addkit.data.loader import Loader, epoch_batches, fitting_workers
from addkit.diffusion import ObjectiveValue, counted_generator, counted_seed
from addkit.distributed.batch_norm import RunningStatistics
from addkit.distributed.signals import EXIT_CODES, Interrupted, StopSignals
from addkit.distributed.world import World
from addkit.errors import AddkitWarning, RunError, Stopped
from addkit.model import Network, build_data, build_network, build_task, problem_of
from addkit.plugin.protocols import DataSource, ImageSet
from addkit.plugin.values import Batch, DataFacts, TimedLosses
from addkit.recipe import Recipe
from addkit.runs import Run
from addkit.runs.atomic import clean_temporaries
from addkit.runs.checkpoint import CheckpointWriter, Progress, load_progress
from addkit.runs.checkpoint_files import FILES as CHECKPOINT_FILES
from addkit.runs.checkpoint_files import Keep, newest_whole, pointed_at, step_of
from addkit.runs.folder import FILES as RUN_FILES
from addkit.training.backend import Stopwatch, prepared
from addkit.training.engine import LossModule, build_engine
from addkit.training.features import FeatureCache, FeaturePlan, changed_reason, plan_features
from addkit.training.learning_rate import rate_schedule
from addkit.training.optimizer import encoder_warmup, gradient_norm, scale_and_clip
from addkit.training.plan import Plan

MOST_SOURCES = 8
"""Images that the error of a step without a finite loss names."""


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
    """Where the seconds went on rank 0."""
    real_loss: float | None = None
    """Captions: mean over words and ends, and, apart, over the pads behind them."""
    pad_loss: float | None = None
    timed: TimedLosses | None = field(default=None, repr=False)
    """Losses of tokens at their times: of this process, or of all where timesteps are learnt."""
    stop: int = 0
    """Exit code with which some process was asked to stop; 0 to continue."""
    save: bool = False
    """True where a checkpoint is due by the clock."""

    def line(self) -> dict[str, Any]:
        """The step as metrics.jsonl has it."""
        names = ("step", "loss", "accuracy", "gradient_norm", "lr", "images", "seconds")
        line: dict[str, Any] = {name: getattr(self, name) for name in names}
        line["parts"] = dict(self.parts)
        if self.real_loss is not None:
            line |= {"real_loss": self.real_loss, "pad_loss": self.pad_loss}
        return line


class Callback:
    """Training callbacks; one instance per process. Does nothing: subclasses override methods.

    Every process calls the same methods in the same order, so that a callback may communicate.
    """

    def features(self, trainer: Trainer, plan: FeaturePlan, done: int, total: int | None) -> None:
        """Before `begin`, on rank 0: features of `done` images are computed, of `total`.

        The first call has None, and is the only one where `plan.reason` is why none are cached.
        The others begin with 0 images and end with all; with 0 of 0 if they were in the cache.
        """

    def begin(self, trainer: Trainer) -> None:
        """Training starts or resumes."""

    def step(self, trainer: Trainer, report: StepReport) -> None:
        """After each optimizer step."""

    def epoch(self, trainer: Trainer, epoch: int) -> None:
        """After each epoch and its checkpoint; again after a resume from that checkpoint."""

    def unfrozen(self, trainer: Trainer) -> None:
        """From the next step on a frozen encoder is trained too, and the data are images."""

    def log(self, trainer: Trainer, line: Mapping[str, Any]) -> None:
        """After each line of metrics.jsonl, on rank 0."""

    def scored(
        self, trainer: Trainer, split: str, value: float, examples: Sequence[tuple[str, str]]
    ) -> None:
        """After an evaluation on the way, on rank 0: the task's headline, and (truth, answer)s."""

    def stopped_early(self, trainer: Trainer, epoch: int, best: int) -> None:
        """`training.patience` ends the training after `epoch`; `best` was the best, from 1."""

    def steps_chosen(self, trainer: Trainer, steps: int, values: Mapping[int, float]) -> None:
        """Sampling steps were chosen by the headline of each candidate (`steps = "auto"`)."""

    def profiled(self, trainer: Trainer, files: Sequence[Path]) -> None:
        """A profile of some steps was written."""

    def end(self, trainer: Trainer) -> None:
        """Training and its last scores are over, or have failed."""


def with_class_counts(facts: DataFacts, labels: Tensor) -> DataFacts:
    """The facts with the training images of each class.

    Args:
        facts: of the data set.
        labels: (images, N) class ids of its training split; for N > 1 the facts stay as they are.
    """
    if facts.num_tokens > 1 or facts.pad is not None:
        return facts
    counts = torch.bincount(labels.flatten(), minlength=facts.num_classes)
    return replace(facts, class_counts=tuple(counts.tolist()))


class Trainer:
    """The training of one network, as one of its processes sees it.

    Args:
        run: written to.
        recipe: the experiment.
        device: of the network.
        world: the processes that share the work; None: this one alone.
        stop: signals that ask for an end; None: no signal does.
        name: what the network is called in progress lines; the recipe's model name if None.
        source: of the data; the recipe's if None.
    """

    callbacks: Sequence[Callback] = ()

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        device: str,
        world: World | None = None,
        stop: StopSignals | None = None,
        name: str | None = None,
        source: DataSource | None = None,
    ) -> None:
        self.run, self.recipe, self.name = run, recipe, name or recipe.model_name
        self.world, self.stop = world or World(), stop or StopSignals()
        self.source: DataSource = source or build_data(recipe)
        # Every split, so that a broken file stops the training before it begins.
        facts = self.source.facts
        self.splits = self._pictures = {name: self.source.split(name) for name in facts.split_sizes}
        """Images, or their features while the encoder is frozen and they are cached."""
        facts = with_class_counts(facts, self.splits["train"].labels)
        # Every process builds the same network: initial weights are seeded by the recipe.
        network = prepared(build_network(recipe, facts).to(device), recipe)
        self.plan = Plan.of(recipe, len(self.images), self.world.size)
        self.task = build_task(recipe, problem_of(recipe, facts))
        self.schedule = rate_schedule(recipe, self.plan)
        module = LossModule(network, self.task, recipe)
        plan = self.plan
        self.engine = build_engine(module, recipe, facts, plan)
        self.network: Network = self.engine.network
        self.device: torch.device = self.network.diffusion.null_token.device
        # Those of a frozen encoder too, if it is trained later: until then they have no gradient.
        groups = self.engine.optimizer.param_groups
        trained = {id(p) for group in groups for p in group["params"]}
        self.parameters = [p for p in self.network.parameters() if id(p) in trained]
        self._open(self.splits)
        wanted = recipe.checkpoints
        # `keep_every` counts epochs, and checkpoints are named by steps.
        keep = Keep(last=wanted.keep_last, every=wanted.keep_every * plan.steps_per_epoch)
        self.writer = CheckpointWriter(run.checkpoints, keep, asynchronous=wanted.asynchronous)
        self.progress = Progress()
        self.saved: Path | None = None
        """The newest checkpoint."""
        self.saved_step, self.saved_at = 0, monotonic()
        self.exhausted = False
        """True once a callback has decided, on all processes, that no more epoch is taken."""
        self._undo: Callable[[], bool] | None = None
        """Within a step: puts back what the step has changed, and returns False where it cannot."""
        self._wait_for_shares: Callable[[], None] = lambda: None
        self._watch = Stopwatch(self.device)
        self._step_began = perf_counter()

    @classmethod
    def open(
        cls,
        run: Run,
        recipe: Recipe,
        device: str,
        world: World | None = None,
        stop: StopSignals | None = None,
        name: str | None = None,
    ) -> Trainer:
        """Build the recipe's training and load the run's newest checkpoint, if it has one."""
        trainer = cls(run, recipe, device, world, stop, name)
        trainer.resume()
        return trainer

    def close(self) -> None:
        """End the callbacks, wait for the last checkpoint, and end the loader's processes."""
        for callback in self.callbacks:
            callback.end(self)
        # Workers first: the last checkpoint may take long, and they need not wait for it.
        self.loader.close()
        self._wait_for_shares()
        self.writer.close()

    def fit(self, callbacks: Sequence[Callback] = ()) -> None:
        """Train from the current step to the last one; save checkpoints on the way.

        Raises:
            RunError: the loss or the gradient is not finite; names step, images, last checkpoint.
            Stopped: a signal asked for it; the training is saved.
        """
        self.callbacks = callbacks
        # Before signals are deferred: computing features ends at once.
        self._prepare_features()
        for callback in callbacks:
            callback.begin(self)
        epochs, steps = self.plan.epochs, self.plan.steps_per_epoch
        done, into = divmod(self.progress.step, steps)
        # Several processes stop at the end of a step, together, however long that takes.
        with self.saved_when_stopped(), self.stop.deferred(deadline=self.world.size == 1):
            # A kill may have come between the checkpoint of an epoch and its scores.
            for epoch in range(done - 1 if done and not into else done, epochs):
                if self.exhausted:
                    break
                if epoch >= done:
                    self._train_epoch(epoch)
                for callback in callbacks:
                    callback.epoch(self, epoch)
            # Also after an epoch at whose end no checkpoint was due.
            self.save_once()

    @property
    def images(self) -> ImageSet:
        """The training split, as it is read now."""
        return self.splits["train"]

    @property
    def reads_features(self) -> bool:
        """True while features stand for images."""
        return self.splits is not self._pictures

    def _open(self, splits: dict[str, ImageSet]) -> None:
        """Read these splits from now on."""
        spread = self.recipe.distributed
        self.splits = splits
        # Features are rows of a file, and sending them between processes costs more than reading.
        self.workers = 0
        if not self.reads_features:
            self.workers = fitting_workers(spread.workers, self.world.local_size)
        pin = self.device.type == "cuda"
        self.loader = Loader(self.images, self.workers, prefetch=spread.prefetch, pin=pin)

    def _prepare_features(self) -> None:
        """Compute features of a frozen encoder, or find them in the cache, and read them."""
        recipe, facts, world = self.recipe, self.source.facts, self.world
        done, into = divmod(self.progress.step, self.plan.steps_per_epoch)
        # The last epoch before the checkpoint may still be evaluated.
        first = done - 1 if done and not into else done
        if self.network.frozen and 0 < recipe.training.unfreeze_after <= first:
            return
        # By an unsharded network, in which one process can compute alone.
        network = self.engine.networks()["raw"]
        plan = plan_features(recipe, facts, network)
        if plan is None or self.reads_features:
            return
        leads, workers = world.local_rank == 0, self.workers
        cache = FeatureCache(recipe, facts, network, self.splits, workers=workers, leads=leads)
        asked = recipe.features.cache == "auto" and not recipe.features.views
        if asked and not plan.reason and cache.changes():
            what = f'the data "{recipe.choices["data"].name}"'
            plan = replace(plan, reason=changed_reason(what))

        def report(done: int, total: int | None) -> None:
            for callback in self.callbacks if world.is_main else ():
                callback.features(self, plan, done, total)

        if plan.reason:
            report(0, None)
            return
        failure, splits = "", self.splits
        try:
            splits = cache.open(report)
        except RunError as error:
            if recipe.features.cache is True:
                raise
            failure = str(error)
        # All processes read the same, even if one of them alone has a full disk.
        failures = [failure for failure in world.all_gather(failure) if failure]
        if not failures:
            self.loader.close()
            self._open(splits)
        elif world.is_main:
            text = f"{failures[0]}. Meanwhile the encoder runs in every step"
            warnings.warn(text, AddkitWarning, stacklevel=2)

    def _unfreeze(self) -> None:
        """Train the encoder too, on images."""
        self.engine.unfreeze()
        self.loader.close()
        self._open(self._pictures)
        for callback in self.callbacks:
            callback.unfrozen(self)

    @contextmanager
    def saved_when_stopped(self) -> Iterator[None]:
        """Save this step once a signal stops the process within, and raise `Stopped`."""
        try:
            yield
        except (Interrupted, Stopped) as error:
            self.stop.obey()
            # Several processes stop at the same step or batch, so that they can save together; and
            # one of them alone never in the middle of a step, which leaves half of an update.
            whole = self._undo is None or self._undo()
            if whole and (self.world.size == 1 or isinstance(error, Stopped)):
                self.save_once()
            code = error.exit_code if isinstance(error, Stopped) else self.stop.exit_code
            saved = f"saved after step {self.saved_step}; continue with --resume"
            raise Stopped(f"{self.stop.why}; {saved}", code) from error

    def _train_epoch(self, epoch: int) -> None:
        """Take the rest of an epoch's steps, and save where it is due."""
        ends = (epoch + 1) * self.plan.steps_per_epoch
        due = (epoch + 1) % self.recipe.checkpoints.every == 0 or epoch + 1 == self.plan.epochs
        if self.network.frozen and 0 < self.recipe.training.unfreeze_after <= epoch:
            self._unfreeze()
        steps = self.begin_epoch(epoch)
        while True:
            if self.stop.exit_code and self.world.size == 1:
                raise Stopped(self.stop.why, self.stop.exit_code)
            self._watch.start()
            micro_batches = next(steps, None)
            if micro_batches is None:
                return
            self._watch.lap("data")
            report = self.train_step(micro_batches)
            for callback in self.callbacks:
                callback.step(self, report)
            # All processes have the same report, and so save and stop together.
            self._watch.start()
            if report.stop:
                raise Stopped(self.stop.why, report.stop)
            if report.save or (due and report.step == ends):
                self.save()
            self._watch.lap("checkpoint")

    def begin_epoch(self, epoch: int) -> Iterator[list[Batch]]:
        """Prepare the network for the rest of an epoch's steps; returns `micro_batches`."""
        # An evaluation has left the networks in evaluation mode.
        self.network.train()
        self.statistics = RunningStatistics(self.network, self.world, self.plan.micro_batches)
        self._step_began = perf_counter()
        self._watch.start()
        return self.micro_batches(epoch)

    def micro_batches(self, epoch: int) -> Iterator[list[Batch]]:
        """Micro-batches of this process, step by step, for the rest of an epoch, in order.

        Process r of P takes micro-batches r, r + P, ... of a step. Which images one contains does
        not depend on how many processes or accumulation steps share the global batch.
        """
        plan, seed = self.plan, self.recipe.seed
        order = epoch_batches(
            self.images,
            seed,
            epoch,
            steps=plan.steps_per_epoch,
            parts=plan.micro_batches,
            size=plan.per_process_batch,
            # Data sets of plugins need no such setting.
            balanced=getattr(self.recipe.choices["data"].config, "sampling", "") == "balanced",
        )  # (steps, P A, images)
        # A resumed epoch has the same order, and begins at the step after the checkpoint.
        first = self.progress.step - epoch * plan.steps_per_epoch
        own = order[first:, self.world.rank :: plan.processes].flatten(0, 1)
        batches = self.loader.batches(own.tolist(), counted_seed(seed, "augment", epoch))
        # The seed counts images, not workers or processes: augmentation depends on neither.
        while micro_batches := list(islice(batches, plan.accumulation)):
            yield micro_batches

    def train_step(self, micro_batches: Sequence[Batch]) -> StepReport:
        r"""One optimizer step, over A micro-batches on each of P processes.

        Token i of all P A micro-batches has the loss l_i and the weight w_i, and the step descends

        .. math:: L = \frac{\sum_i w_i l_i}{\sum_i w_i} = \frac{\sum_j S_j}{\sum_j W_j}

        where `objective` gives S_j (with gradient) and W_j of micro-batch j, which is its number of
        tokens T where all count alike. W = \sum_j W_j is known only after every forward pass, but
        gradients are best summed as they come. So a backward pass starts from S_j / (T A), DDP and
        FSDP2 average over the P processes, and the factor T A P / W then gives the gradient of L.
        """
        engine, statistics, watch = self.engine, self.statistics, self._watch
        recipe, step, plan = self.recipe, self.progress.step, self.plan
        count = plan.processes * plan.accumulation  # P A
        # None, not zero: the first backward pass then writes instead of adding, and a parameter
        # without a gradient is left out by the optimizer.
        engine.optimizer.zero_grad(set_to_none=True)
        statistics.begin()
        self._undo = statistics.undo
        losses: list[ObjectiveValue] = []
        for turn, batch in enumerate(micro_batches):
            last = turn + 1 == len(micro_batches)
            # Randomness is counted, so that a step depends neither on resuming nor on P.
            number = turn * plan.processes + self.world.rank
            generator = counted_generator(recipe.seed, "train", step, number, device=self.device)
            torch.manual_seed(counted_seed(recipe.seed, "dropout", step, number))
            # (B, R, N): the label of each reuse copy, one of several where images have several.
            labels = batch.labels[:, None].expand(-1, recipe.training.reuse, -1)
            if batch.references is not None:
                labels = pick_answers(batch, recipe.training.reuse, generator)
            # Drawn and mixed on the device: one generator serves this micro-batch's randomness.
            labels = labels.to(self.device, non_blocking=True)
            images = batch.images.to(self.device, non_blocking=True)
            if recipe.augmentation.mixes and not self.reads_features:
                images, labels = mix(images, labels, recipe.augmentation, generator)
            with engine.accumulating(last):
                loss = engine.module(images, labels, generator, batch.side_inputs)
                losses.append(loss)
                statistics.collect(last=last)
                if last:
                    # Small messages cost waiting, not bytes: they travel behind backward.
                    sums = self._summands(losses)  # (9,)
                    work = self.world.all_reduce_async(sums)
                watch.lap("forward")
                (loss.total / (loss.tokens * plan.accumulation)).backward()
                watch.lap("backward")
            statistics.rewind()
        # The first wait for the GPU and for the other processes in this step.
        statistics.settle()
        norm = gradient_norm(self.parameters)
        if work is not None:
            work.wait()
        total, weight, accuracy, real, pad, save, *signals = sums.tolist()
        factor = losses[0].tokens * count / weight if weight else 1.0
        mean, size = total / weight if weight else 0.0, norm.item()
        # Before the check: every process must take part in the same collective operations.
        timed = self._timed(losses)
        watch.lap("communication")
        if not (math.isfinite(mean) and math.isfinite(size)):
            raise RunError(self._not_finite(mean, size, micro_batches))
        self._undo = lambda: False
        scale_and_clip(self.parameters, norm, factor, recipe.training.clip_norm)
        # Set, not stepped by a scheduler: it follows from the step alone, also after a resume.
        lr = self.schedule(step)
        for group in engine.optimizer.param_groups:
            warm = encoder_warmup(step, plan) if group["of_encoder"] else 1.0
            group["lr"] = lr * group["lr_scale"] * warm
        engine.optimizer.step()
        learnt = self.network.diffusion.timesteps
        if learnt is not None and timed is not None:
            # From the whole step at once, however many micro-batches it is cut into.
            learnt.learn(timed.t, timed.losses, timed.drawn)
        if engine.average is not None:
            engine.average.update_parameters(self.network)
        watch.lap("optimizer")
        now = perf_counter()
        seconds, self._step_began = now - self._step_began, now
        self.progress = Progress(step + 1, self.progress.seconds + seconds)
        self._undo = None
        captions = losses[0].real_loss is not None
        return StepReport(
            step=step + 1,
            loss=mean,
            accuracy=100 * accuracy / count,
            gradient_norm=size * factor,  # before clipping
            lr=lr,
            images=plan.global_batch,
            seconds=seconds,
            parts=watch.seconds(),
            real_loss=real / count if captions else None,
            pad_loss=pad / count if captions else None,
            timed=timed,
            stop=next((code for code, sent in zip(EXIT_CODES, signals, strict=True) if sent), 0),
            save=save > 0,
        )

    def _summands(self, losses: Sequence[ObjectiveValue]) -> Tensor:
        """What processes add up, (9,) in fp32: total, weight, accuracy, losses of real tokens and
        pads, and flags: a checkpoint is due, and one for each of `EXIT_CODES`.
        """
        minutes = self.recipe.checkpoints.minutes
        # Clocks differ: rank 0's decides for all.
        due = 0 < minutes <= (monotonic() - self.saved_at) / 60 and self.world.is_main
        requests = (due, *(self.stop.exit_code == code for code in EXIT_CODES))
        flags = torch.zeros(len(requests), device=self.device)
        for index, request in enumerate(requests):
            # A copy from the host would make it wait until the GPU has done all before.
            if request:
                flags[index] = 1.0
        zero = torch.zeros((), device=self.device)
        sums = [
            torch.stack([zero if x is None else x.detach().float() for x in shown])
            for loss in losses
            for shown in [(loss.total, loss.weight, loss.accuracy, loss.real_loss, loss.pad_loss)]
        ]
        return torch.cat([torch.stack(sums).sum(0), flags])

    def _timed(self, losses: Sequence[ObjectiveValue]) -> TimedLosses | None:
        """`StepReport.timed`."""
        timed = [loss.timed for loss in losses if loss.timed is not None]
        if not timed:
            return None
        columns = [torch.stack(column).detach() for column in zip(*timed, strict=True)]
        if self.network.diffusion.timesteps is not None:
            # (P, A, tokens) -> (A, P, tokens): in the order of micro-batches, whatever P is.
            columns = [self.world.all_gather_tensor(c).transpose(0, 1) for c in columns]
        return TimedLosses(*(column.flatten() for column in columns))

    def _not_finite(self, loss: float, norm: float, micro_batches: Sequence[Batch]) -> str:
        """The error of a step whose loss or gradient is no number."""
        # So that the message names the newest checkpoint that is whole.
        self.writer.wait()
        what = f"gradient norm is {norm}" if math.isfinite(loss) else f"loss is {loss}"
        own = [self.images.source(index) for batch in micro_batches for index in batch.indices]
        sources = [source for each in self.world.all_gather(own) for source in each]
        more = len(sources) - MOST_SOURCES
        shown = ", ".join(sources[:MOST_SOURCES]) + (f" and {more} more" if more > 0 else "")
        return (
            f"{self.run.path}: {what} at step {self.progress.step + 1}; its images: {shown}. "
            f"The last good checkpoint is {self.writer.saved or self.saved}. "
            "Check these images, or lower training.lr, or set training.precision to float32"
        )

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl and give it to the callbacks; rank 0 alone calls it."""
        self.run.log(dict(line))
        for callback in self.callbacks:
            callback.log(self, line)

    def save(self, *, wait: bool = False) -> None:
        """Write a checkpoint of this moment; training may continue while it is being written."""
        # A signal asks for this, and does not end it.
        with self.stop.deferred(deadline=False):
            # One save at a time: shares of the last one may still be on their way to the disk.
            self._wait_for_shares()
            tensors = self.engine.tensors()
            if self.world.is_main:
                parts = self._begin_shares if self.engine.sharded else None
                self.saved = self.writer.save(self.progress, tensors, parts=parts, wait=wait)
            elif self.engine.sharded:
                # Rank 0 broadcasts the folder; what another rank passes does not matter.
                self._begin_shares(Path())
            self.saved_step, self.saved_at = self.progress.step, monotonic()

    def save_once(self) -> None:
        """`save`, unless this step is saved already."""
        if self.saved_step != self.progress.step:
            self.save()

    def _begin_shares(self, folder: Path) -> Callable[[], None]:
        """Every process begins to write its share into rank 0's folder."""
        shares = self.engine.shards(self.world.broadcast(folder))
        self._wait_for_shares = shares or (lambda: None)
        return self._wait_for_shares

    def mark_best(self) -> None:
        """Mark this step's checkpoint as the best so far; write it first where there is none."""
        self.save_once()
        if self.world.is_main:
            self.writer.mark_best()

    def load_best(self) -> int | None:
        """Load the weights of the best checkpoint into the networks, for scores; returns its step,
        or None where no checkpoint was the best. The training itself cannot continue from there.
        """
        self._wait_for_shares()
        best = None
        if self.world.is_main:
            self.writer.wait()
            best = pointed_at(self.run.checkpoints, "best")
        # Others read it only once rank 0 has written it.
        best = self.world.broadcast(best)
        if best is None:
            return None
        self.engine.load_weights(best)
        return step_of(best)

    def resume(self) -> None:
        """Load the newest checkpoint that is whole; where there is none, write one of step 0."""
        refused: list[str] = []
        if self.world.is_main:
            clean_temporaries(self.run.path, RUN_FILES)
            clean_temporaries(self.run.checkpoints, CHECKPOINT_FILES)
            self.saved, refused = newest_whole(self.run.checkpoints)
            if self.saved is None and self.run.metrics():
                # Begun anew, it would mix its metrics with theirs.
                raise RunError(
                    f"{self.run.checkpoints}: has no checkpoint, and metrics.jsonl has steps; put "
                    f"back a copy of one, or train anew with --run-dir {self.run.path} --fresh"
                )
            self.writer.saved = self.saved
        # On a shared disk another process may not see the newest files yet.
        self.saved, refused = self.world.broadcast((self.saved, refused))
        for message in refused if self.world.is_main else ():
            warnings.warn(message, AddkitWarning, stacklevel=2)
        if self.saved is None:
            # A training that is killed in its first epoch can be resumed, too.
            self.save(wait=True)
            return
        self.progress = load_progress(self.saved)
        self.saved_step = self.progress.step
        self.engine.load(self.saved, self.progress.step)
        if self.world.is_main:
            # Steps after the checkpoint are taken again, and logged again.
            self.run.forget_after(self.progress.step)
