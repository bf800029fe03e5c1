"""Scoring a network on a split: each image is encoded once, whatever the number of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from addkit.data.loading import load
from addkit.diffusion import counted_generator
from addkit.model import Inference, Network
from addkit.plugin.protocols import Batch, ImageSet, Meter, Task

__all__ = ["Case", "score_cases"]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to answer for all images of a split."""

    inference: Inference
    no_image: bool = False
    """Audit: give every image the null condition."""


@torch.inference_mode()
def score_cases(
    network: Network,
    images: ImageSet,
    cases: Mapping[str, Case],
    task: Task,
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
) -> dict[str, Meter]:
    """A meter for each case. The noise is counted by (seed, batch) and the same for all cases."""
    meters = {name: task.meter() for name in cases}
    device = network.diffusion.null.device
    network.eval()
    for number, batch in enumerate(_batches(images, batch_size, workers)):
        condition = network.condition(batch.images.to(device))
        null = network.diffusion.null_condition(condition.shape[1]).expand_as(condition)
        for name, case in cases.items():
            generator = counted_generator(seed, "evaluate", number, device=device)
            answer = case.inference.answer(
                network.diffusion, null if case.no_image else condition, generator
            )
            meters[name].update(answer, batch)
    return meters


def _batches(images: ImageSet, size: int, workers: int) -> Iterator[Batch]:
    slices = [
        list(range(start, min(start + size, len(images)))) for start in range(0, len(images), size)
    ]
    return load(images, slices, seed=None, workers=workers)
