"""Predictions and scores of one network on one split, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from addkit.data.loader import fitting_workers, load
from addkit.diffusion import Answer, counted_generator
from addkit.distributed.signals import StopSignals
from addkit.distributed.world import World
from addkit.errors import Stopped
from addkit.model import Inference, Network, Predictor
from addkit.plugin.protocols import ImageSet, Meter, Task
from addkit.plugin.values import Batch

CHAIN_LENGTHS = (1, 2, 5, 10, 20)
"""Candidates of `sampling.steps = "auto"`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Inference settings to score."""

    inference: Inference
    no_image: bool = False
    """Give every image the null condition."""


def scores_of(meter: Meter) -> dict[str, Any]:
    """All scores by name."""
    return asdict(meter.compute())


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Runs a network over a split; every image is encoded once, for all settings together."""

    network: Network
    images: ImageSet
    task: Task
    batch_size: int
    seed: int
    """Noise is counted by (seed, batch), so that all settings start from the same noise."""
    workers: int = 0
    world: World | None = None
    stop: StopSignals | None = None

    @classmethod
    def for_predictor(cls, predictor: Predictor, images: ImageSet, seed: int) -> Evaluator:
        """An evaluator with the batch size and the workers of the predictor's recipe."""
        return cls(
            network=predictor.network,
            images=images,
            task=predictor.task,
            batch_size=predictor.recipe.sampling.batch_size,
            seed=seed,
            workers=fitting_workers(predictor.recipe.distributed.workers, 1),
        )

    def score(self, settings: Mapping[str, Setting]) -> dict[str, Meter]:
        """A meter for each setting.

        Each process of a world predicts its own batches. Merging in the order of ranks gives all of
        them the meters that one process would have. Raises `Stopped` if a signal has come, here or
        on another process; on all of them.
        """
        world, stop = self.world or World(), self.stop or StopSignals()
        # Meters, not answers, are gathered: a meter of a split is small beside (images, N, K).
        meters = {name: self.task.meter() for name in settings}
        # One process alone is stopped by the signal itself.
        with nullcontext() if world.size == 1 else stop.deferred(deadline=False):
            for name, answer, batch in self.predict_batches(settings, (world.rank, world.size)):
                if stop.exit_code:
                    break  # Not raise: the other ranks are on their way to the collective below.
                meters[name].update(answer, batch)
            # Ranks gather before any of them raises: none may be left waiting in a collective.
            gathered = world.all_gather((stop.exit_code, meters))
        codes = [code for code, _ in gathered if code]
        if codes:
            # The same code on all ranks, whichever of them the signal reached.
            raise Stopped(stop.why, min(codes))
        (_, total), *others = gathered
        for _, other in others:
            for name, meter in total.items():
                meter.merge(other[name])
        return total

    def best_steps(
        self, with_steps: Callable[[int], Inference], headline: str
    ) -> tuple[int, dict[int, float]]:
        """The chain length with the best headline score, the shortest of equals.

        Args:
            with_steps: inference settings for a chain length.
            headline: the task's.

        Returns:
            the length, and the score of each candidate.
        """
        meters = self.score({str(n): Setting(with_steps(n)) for n in CHAIN_LENGTHS})
        values = {int(n): float(scores_of(meter)[headline] or 0) for n, meter in meters.items()}
        # Negated, so that of equal scores the shortest chain is the largest.
        return max(values, key=lambda n: (values[n], -n)), values

    @torch.inference_mode()
    def predict_batches(
        self, settings: Mapping[str, Setting], share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[str, Answer, Batch]]:
        """Each batch under every setting: (name of the setting, answer, batch).

        Args:
            settings: by name.
            share: (r, P) takes the r-th of P runs of neighbouring batches.
        """
        diffusion = self.network.diffusion
        device = diffusion.null_token.device
        size, images = self.batch_size, self.images
        slices = [
            list(range(start, min(start + size, len(images))))
            for start in range(0, len(images), size)
        ]
        # Neighbouring batches, so that merging in the order of ranks gives the images' order.
        # Rounded up, so that rank 0 always has a batch.
        rank, processes = share
        begin, end = (-(-len(slices) * part // processes) for part in (rank, rank + 1))
        # Not drawn by seed: an evaluation takes images as they are, without augmentation.
        batches = load(images, slices[begin:end], seed=None, workers=self.workers)
        self.network.eval()
        for number, batch in zip(range(begin, end), batches, strict=True):
            condition = self.network.condition(batch.images.to(device), batch.side_inputs)
            null = diffusion.null_condition(condition.shape[1]).expand_as(condition)  # (B, C, V)
            # By no_image. Exact likelihoods belong to the network: all loops share them.
            exact: dict[bool, Tensor | None] = {}  # (B,)
            for name, setting in settings.items():
                inference = setting.inference
                # Counted by batch, so results do not depend on workers, ranks or other settings.
                generator = counted_generator(self.seed, "evaluate", number, device=device)
                given = null if setting.no_image else condition  # (B, C, V)
                evidence = batch.evidence if inference.evidence else None
                answer = inference.answer(diffusion, given, generator, evidence=evidence)
                if inference.one_pass:
                    # One pass claims independent tokens: its own likelihood is their product.
                    truth = inference.product_log_p(answer, batch.labels)
                else:
                    if setting.no_image not in exact:
                        exact[setting.no_image] = inference.truth_log_p(
                            diffusion, given, batch.labels
                        )
                    truth = exact[setting.no_image]
                yield name, replace(answer, truth_log_p=truth), batch
