"""An exported graph against addkit: the same images, their answers and the time they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from addkit.export.graph import outputs
from addkit.model import Inference, Predictor

BATCH = 32
"""Images at a time, of which the last batch has fewer: the file must take any number."""
PAIRS = 15
"""Measurements of one image's time, addkit's and the file's in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An exported file compared with addkit."""

    images: int
    difference: float
    """Largest difference of a probability, over images with the same answer."""
    other_answers: int
    """Images whose most probable class, or any label, is another one."""
    addkit_ms: float
    """Median time of one image, from the tensor to the answer."""
    file_ms: float


@torch.inference_mode()
def compare(
    predictor: Predictor,
    inference: Inference,
    run: Callable[[Tensor], tuple[Tensor, ...]],
    images: Tensor,
) -> Comparison:
    """Compare both on images (n, channels, size, size), as the data set prepares them."""
    facts, generator = predictor.facts, torch.Generator().manual_seed(0)

    def answer(batch: Tensor) -> tuple[Tensor, ...]:
        condition = predictor.network.condition(batch)
        return outputs(inference.answer(predictor.network.diffusion, condition, generator), facts)

    difference, others = 0.0, 0
    for batch in torch.split(images, BATCH):
        expected, found = answer(batch), run(batch)
        # (B,): equal ids, or equal arg max of the probabilities.
        ids = [x[0] if len(x) > 1 else x[0].argmax(-1, keepdim=True) for x in (expected, found)]
        same = (ids[0] == ids[1]).all(1)
        others += int((~same).sum())
        for left, right in zip(expected, found, strict=True):
            if left.is_floating_point() and bool(same.any()):
                apart = (left - right)[same].abs().max()
                # NaN is no small difference.
                difference = max(difference, float(apart.nan_to_num(torch.inf)))
    one, times = images[:1], []
    for _ in range(PAIRS):
        start = perf_counter()
        answer(one)
        middle = perf_counter()
        run(one)
        times.append((middle - start, perf_counter() - middle))
    slow, fast = (1e3 * median(column) for column in zip(*times, strict=True))
    return Comparison(
        images=len(images),
        difference=difference,
        other_answers=others,
        addkit_ms=slow,
        file_ms=fast,
    )
