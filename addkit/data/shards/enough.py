"""Whether every micro-batch of a step has a shard to read."""

from __future__ import annotations

from math import floor, log10

import torch
from torch import Tensor

from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet

MB = 1_000_000
LEAST = 1_000
"""Bytes; what `--shard-size` takes at least."""


def check_enough(images: ImageSet, parts: int, recipe: str = "RECIPE") -> None:
    """Refuse fewer shards than micro-batches of a step.

    Args:
        images: the training images; those that lie in no shards are always enough.
        parts: micro-batches of one optimizer step, over all processes.
        recipe: how a command line names the recipe.

    Raises:
        DataError: both numbers, and the size of shards that would be enough.
    """
    shards: Tensor | None = getattr(images, "shards", None)
    count = parts if shards is None else len(torch.unique(shards[:, 0]))
    if shards is None or count >= parts:
        return
    raise DataError(
        f"the training images lie in {count} {'shard' if count == 1 else 'shards'}, and a step has "
        f"{parts} micro-batches (processes x accumulation), each of which reads shards of its own."
        f"\n{_again(images, shards, parts, recipe)}Take fewer --processes, or set "
        "distributed.per_process_batch higher."
    )


def _again(images: ImageSet, shards: Tensor, parts: int, recipe: str) -> str:
    """The command that writes smaller shards, where there are such."""
    sizes: Tensor | None = getattr(images, "sizes", None)
    size = None if sizes is None else _size(sizes[_as_written(shards)].tolist(), parts)
    if size is None:
        return ""
    command = f"addkit data shard {recipe} NEW_FOLDER --set data.root=IMAGES"
    return f"Write smaller ones: `{command} --shard-size {size / MB:g}` gives enough. "


def _as_written(shards: Tensor) -> Tensor:
    by_place = shards[:, 1].argsort(stable=True)
    return by_place[shards[by_place, 0].argsort(stable=True)]


def _size(sizes: list[int], parts: int) -> int | None:
    """Bytes, of two digits, of shards that are `parts` or more; None if none are."""
    size = _rounded(sum(sizes) / parts)
    while size >= LEAST:
        if _count(sizes, size) >= parts:
            return size
        size = _rounded(size * 0.9)
    return None


def _rounded(size: float) -> int:
    """Down to two digits."""
    unit: int = 10 ** max(floor(log10(max(size, 1))) - 1, 0)
    return int(size / unit) * unit


def _count(sizes: list[int], size: int) -> int:
    """Shards when each is closed by the image with which it reaches `size` bytes."""
    count = filled = 0
    for one in sizes:
        filled += one
        if filled >= size:
            count, filled = count + 1, 0
    return count + bool(filled)
