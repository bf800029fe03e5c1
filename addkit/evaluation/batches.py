"""Scoring a network on a split: each image is encoded once, whatever the number of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from addkit.data.loader import load
from addkit.diffusion import Answer, counted_generator
from addkit.distributed.signals import StopSignals
from addkit.distributed.world import World
from addkit.errors import Stopped
from addkit.model import Inference, Network
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet, Meter, Task


@dataclass(frozen=True, slots=True)
class Case:
    """One way to answer for all images of a split."""

    inference: Inference
    no_image: bool = False
    """Audit: give every image the null condition."""


def score_cases(
    network: Network,
    images: ImageSet,
    cases: Mapping[str, Case],
    task: Task,
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
    world: World | None = None,
    stop: StopSignals | None = None,
) -> dict[str, Meter]:
    """A meter for each case; see `answers` for the noise.

    Each process of a world answers its own batches, and all of them end with the same meters, as
    one process would have filled them.

    Raises:
        Stopped: `stop` has heard something, here or on another process; on all of them.
    """
    world, stop = world or World(), stop or StopSignals()
    meters = {name: task.meter() for name in cases}
    told = answers(
        network,
        images,
        cases,
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        share=(world.rank, world.size),
    )
    for name, answer, batch in told:
        if stop.exit_code:
            break
        meters[name].update(answer, batch)
    gathered = world.all_gather((stop.exit_code, meters))
    asked = [code for code, _ in gathered if code]
    if asked:
        raise Stopped(stop.why, min(asked))
    _, whole = gathered[0]
    for _, other in gathered[1:]:
        for name, meter in whole.items():
            meter.merge(other[name])
    return whole


@torch.inference_mode()
def answers(
    network: Network,
    images: ImageSet,
    cases: Mapping[str, Case],
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[str, Answer, Batch]]:
    """Each batch answered in every case. The noise is counted by (seed, batch), alike for all.

    With `share` (r, P) only the r-th of P runs of neighbouring batches, none of them twice.
    """
    device = network.diffusion.null_token.device
    network.eval()
    for number, batch in _batches(images, batch_size, workers, share):
        condition = network.condition(batch.images.to(device), batch.side_inputs)
        null = network.diffusion.null_condition(condition.shape[1]).expand_as(condition)
        exact: dict[bool, Tensor | None] = {}  # Of every loop: it is the network's, not the path's.
        for name, case in cases.items():
            generator = counted_generator(seed, "evaluate", number, device=device)
            seen = null if case.no_image else condition
            answer = case.inference.answer(network.diffusion, seen, generator)
            if case.inference.one_pass:
                truth = case.inference.product_log_p(answer, batch.labels)
            else:
                if case.no_image not in exact:
                    found = case.inference.truth_log_p(network.diffusion, seen, batch.labels)
                    exact[case.no_image] = found
                truth = exact[case.no_image]
            yield name, replace(answer, truth_log_p=truth), batch


def _batches(
    images: ImageSet, size: int, workers: int, share: tuple[int, int]
) -> Iterator[tuple[int, Batch]]:
    slices = [
        list(range(start, min(start + size, len(images)))) for start in range(0, len(images), size)
    ]
    rank, processes = share
    # Rounded up, so that the first process always has some.
    begin, end = (-(-len(slices) * part // processes) for part in (rank, rank + 1))
    batches = load(images, slices[begin:end], seed=None, workers=workers)
    return zip(range(begin, end), batches, strict=True)
