"""Which images the steps of an epoch read."""

from __future__ import annotations

import torch
from torch import Tensor

from addkit.data.counting import uniforms
from addkit.data.loading import epoch_order
from addkit.data.shards.enough import check_enough
from addkit.diffusion.randomness import counted_seed
from addkit.plugin.protocols import ImageSet

SHUFFLE_BUFFER = 2048
"""Images that wait in a shuffle buffer, about 250 MB of ImageNet. A constant, as it decides which
images meet in a step, and need not be large: shards are mixed when they are written."""


def epoch_batches(
    images: ImageSet,
    seed: int,
    epoch: int,
    *,
    steps: int,
    parts: int,
    size: int,
    buffer: int = SHUFFLE_BUFFER,
) -> Tensor:
    """The images of each micro-batch of an epoch, (steps, parts, size) int64.

    Images in files are a permutation of all, cut into pieces. Images in shards (an `ImageSet`
    whose `shards` tells each one's shard and place) are read as they lie: the shards in an order
    drawn for the epoch, as one sequence, cut into `parts` equal segments. Micro-batch p of each
    step reads segment p through a shuffle buffer of `buffer` images, so that a process reads only
    the shards of its own micro-batches.

    The whole order follows from (seed, epoch), whoever reads it: to go on in the middle of an
    epoch, leave out the steps that are done; the buffer has no state of its own to keep.

    Raises `DataError` for fewer shards than `parts`.
    """
    shards: Tensor | None = getattr(images, "shards", None)
    if shards is None:
        order = epoch_order(seed, epoch, len(images))
        return order[: steps * parts * size].view(steps, parts, size)
    check_enough(images, parts)
    segments = _as_they_lie(shards, seed, epoch).tensor_split(parts)
    rows = [
        segment[buffered_order(counted_seed(seed, "buffer", epoch, part), len(segment), buffer)]
        for part, segment in enumerate(segments)
    ]
    return torch.stack([row[: steps * size].view(steps, size) for row in rows], dim=1)


def buffered_order(seed: int, count: int, buffer: int) -> Tensor:
    """The order in which a shuffle buffer gives out a stream 0, 1, ... count - 1, int64.

    The buffer is filled with the first `buffer` of them; then a random one of it goes out and the
    next of the stream takes its slot, until the stream ends and the rest goes out in random order.
    So the t-th to go out is below t + buffer.

    What a slot gives out at time t is what came into it when it was emptied last: element
    buffer + t' of the stream for the last t' < t with the same slot, or its first element.
    """
    buffer = min(buffer, count)
    draws = uniforms(seed, torch.arange(count), 1)[:, 0]
    flowing = count - buffer
    slots = torch.cat([(draws[:flowing] * buffer).long(), draws[flowing:].argsort(stable=True)])
    # By slot and, within one, by time: each emptying's predecessor stands before it.
    times = slots.argsort(stable=True)
    before = times.roll(1)
    first = slots[times] != slots[before]
    first[:1] = True
    order = torch.empty_like(slots)
    order[times] = torch.where(first, slots[times], before + buffer)
    return order


def _as_they_lie(shards: Tensor, seed: int, epoch: int) -> Tensor:
    """Shards in random order, and the images of each by their places."""
    numbers, members = torch.unique(shards[:, 0], return_inverse=True)
    ranks = epoch_order(counted_seed(seed, "shards"), epoch, len(numbers)).argsort()
    by_place = shards[:, 1].argsort(stable=True)
    return by_place[ranks[members[by_place]].argsort(stable=True)]
