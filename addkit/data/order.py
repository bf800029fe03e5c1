"""The order in which the steps of an epoch read images."""

from __future__ import annotations

from math import floor, log10

import torch
from torch import Tensor

from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import DataError
from addkit.plugin.protocols import ImageSet

SHUFFLE_BUFFER = 2048
"""Images that wait in a shuffle buffer, about 250 MB of ImageNet. A constant, as it decides which
images meet in a step, and need not be large: shards are mixed when they are written."""

MB = 1_000_000
LEAST = 1_000
"""The smallest `--shard-size` in bytes."""


def epoch_order(seed: int, epoch: int, size: int) -> Tensor:
    """A permutation of range(size), int64, that follows from (seed, epoch) alone."""
    # Sorting counted uniforms: torch.randperm's result may change with torch's version.
    keys = uniforms(counted_seed(seed, "order", epoch), torch.arange(size), 1)
    return keys[:, 0].argsort(stable=True)


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
    whose `shards` are each image's shard and position there) are read in the order of the files:
    the shards in an order drawn for the epoch, as one sequence, cut into `parts` equal segments.
    Micro-batch p of each step reads segment p through a shuffle buffer of `buffer` images, so that
    a process reads only the shards of its own micro-batches.

    The whole order follows from (seed, epoch), whoever reads it. To resume in the middle of an
    epoch, skip the steps that are done; the buffer has no state of its own to store.

    Raises `DataError` for fewer shards than `parts`.
    """
    shards: Tensor | None = getattr(images, "shards", None)
    if shards is None:
        order = epoch_order(seed, epoch, len(images))
        return order[: steps * parts * size].view(steps, parts, size)
    check_enough(images, parts)
    numbers, members = torch.unique(shards[:, 0], return_inverse=True)
    ranks = epoch_order(counted_seed(seed, "shards"), epoch, len(numbers)).argsort()
    # Stable sorts by the position in a shard, then by the shard's rank: a sort by both.
    by_position = shards[:, 1].argsort(stable=True)
    sequence = by_position[ranks[members[by_position]].argsort(stable=True)]  # (n,)
    segments = sequence.tensor_split(parts)
    # A seed and a segment for each part: a process reads the shards of its own parts alone.
    rows = [
        segment[buffered_order(counted_seed(seed, "buffer", epoch, part), len(segment), buffer)]
        for part, segment in enumerate(segments)
    ]
    # Segments differ by one image at most; what is over after the last step is left out.
    return torch.stack([row[: steps * size].view(steps, size) for row in rows], dim=1)


def buffered_order(seed: int, count: int, buffer: int) -> Tensor:
    """The order in which a shuffle buffer returns a stream 0, 1, ... count - 1, int64.

    The buffer is filled with the first `buffer` of them; then a random one of it goes out and the
    next of the stream takes its slot, until the stream ends and the rest goes out in random order.
    So the t-th to go out is below t + buffer.

    A slot returns at time t the element that entered it when it was emptied last: element
    buffer + t' of the stream for the last t' < t with the same slot, or its first element.
    """
    buffer = min(buffer, count)
    # One uniform for each image that goes out: a slot while the stream flows, a rank after.
    draws = uniforms(seed, torch.arange(count), 1)[:, 0]
    # Images that go out while the stream refills their slots.
    flowing = count - buffer
    slots = torch.cat([(draws[:flowing] * buffer).long(), draws[flowing:].argsort(stable=True)])
    # By slot and, within one, by time: each emptying's predecessor comes just before it.
    times = slots.argsort(stable=True)
    before = times.roll(1)
    first = slots[times] != slots[before]
    first[:1] = True
    order = torch.empty_like(slots)
    order[times] = torch.where(first, slots[times], before + buffer)
    return order


def check_enough(images: ImageSet, parts: int, recipe: str = "RECIPE") -> None:
    """Refuse fewer shards than micro-batches of a step.

    Args:
        images: the training images; those in no shards are always enough.
        parts: micro-batches of one optimizer step, over all processes.
        recipe: the recipe as a command line names it.

    Raises:
        DataError: both numbers, and the size of shards that would be enough.
    """
    shards: Tensor | None = getattr(images, "shards", None)
    if shards is None or (count := len(torch.unique(shards[:, 0]))) >= parts:
        return
    remedy = ""
    sizes: Tensor | None = getattr(images, "sizes", None)
    if sizes is not None:
        # In the order in which they were written, which decides where shards are closed.
        by_position = shards[:, 1].argsort(stable=True)
        written = by_position[shards[by_position, 0].argsort(stable=True)]
        if (size := _enough_size(sizes[written].tolist(), parts)) is not None:
            command = f"addkit data shard {recipe} NEW_FOLDER --set data.root=IMAGES"
            remedy = f"Write smaller ones: `{command} --shard-size {size / MB:g}` gives enough. "
    raise DataError(
        f"the training images are in {count} {'shard' if count == 1 else 'shards'}, and a step has "
        f"{parts} micro-batches (processes x accumulation), each of which reads shards of its own."
        f"\n{remedy}Take fewer --processes, or set distributed.per_process_batch higher."
    )


def _enough_size(sizes: list[int], parts: int) -> int | None:
    """Bytes, of two digits, of shards that are `parts` or more; None if none are."""
    size = _two_digits(sum(sizes) / parts)
    while size >= LEAST:
        count = filled = 0
        # As shards are written: each is closed by the image with which it reaches `size` bytes.
        for length in sizes:
            filled += length
            if filled >= size:
                count, filled = count + 1, 0
        if count + bool(filled) >= parts:
            return size
        size = _two_digits(size * 0.9)
    return None


def _two_digits(size: float) -> int:
    """Rounded down."""
    unit: int = 10 ** max(floor(log10(max(size, 1))) - 1, 0)
    return int(size / unit) * unit
