"""The order of images in an epoch, and loading their batches with workers."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from math import floor, log10, prod
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from addkit.data.image_sets import LevelImages
from addkit.diffusion.randomness import counted_seed, uniforms
from addkit.errors import DataError, RunError
from addkit.plugin.protocols import ImageSet
from addkit.plugin.values import Batch
from addkit.terminal import addkit_command

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


def balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """As many images as there are, with each class equally often, that follow from (seed, epoch).

    Of n images of K classes each class is drawn n / K times, rounded down or up. Its images come
    in a random order, again from the start once all were drawn, so that none is drawn twice more
    often than another. An image that is drawn twice in an epoch is augmented alike both times.

    Args:
        labels: (n,) class ids; those without an image are not drawn.
        seed: of the recipe.
        epoch: counted from 0.

    Returns:
        (n,) int64 positions of images.
    """
    size = len(labels)
    # Each epoch has a random order, and takes the members of each class in it.
    shuffled = epoch_order(counted_seed(seed, "balanced"), epoch, size)
    classes = torch.unique(labels)
    # Which classes are drawn once more is drawn too.
    classes = classes[epoch_order(counted_seed(seed, "classes"), epoch, len(classes))]
    drawn = []
    for rank, k in enumerate(classes):
        members = shuffled[labels[shuffled] == k]
        count = size // len(classes) + (rank < size % len(classes))
        drawn.append(members.repeat(-(-count // len(members)))[:count])
    return torch.cat(drawn)[epoch_order(seed, epoch, size)]


def epoch_batches(
    images: ImageSet,
    seed: int,
    epoch: int,
    *,
    steps: int,
    parts: int,
    size: int,
    buffer: int = SHUFFLE_BUFFER,
    balanced: bool = False,
) -> Tensor:
    """The images of each micro-batch of an epoch, (steps, parts, size) int64.

    Images in files are a permutation of all, or their `balanced_order`, cut into pieces. Images in
    shards (an `ImageSet` whose `shards` are each image's shard and position there) are read in the
    order of the files: the shards in an order drawn for the epoch, as one sequence, cut into
    `parts` equal segments.
    Micro-batch p of each step reads segment p through a shuffle buffer of `buffer` images, so that
    a process reads only the shards of its own micro-batches.

    The whole order follows from (seed, epoch), whoever reads it. To resume in the middle of an
    epoch, skip the steps that are done; the buffer has no state of its own to store.

    Raises `DataError` for fewer shards than `parts`, and for `balanced` images in shards.
    """
    shards: Tensor | None = getattr(images, "shards", None)
    if balanced and shards is not None:
        raise DataError(
            'data.sampling = "balanced" reads images in any order, and these are in shards, which '
            "are read as sequences; take the folder of images, or set loss.class_weights"
        )
    if shards is None:
        order = (
            balanced_order(images.labels[:, 0], seed, epoch)
            if balanced
            else epoch_order(seed, epoch, len(images))
        )
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


def check_enough(images: ImageSet, parts: int, recipe: object = "RECIPE") -> None:
    """Refuse fewer shards than micro-batches of a step.

    Args:
        images: the training images; those in no shards are always enough.
        parts: micro-batches of one optimizer step, over all processes.
        recipe: its file, for the command of the error.

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
            words = ("data", "shard", recipe, "NEW_FOLDER", "--set", "data.root=IMAGES")
            again = addkit_command(*words, "--shard-size", f"{size / MB:g}")
            remedy = f"Write smaller ones: `{again}` gives enough. "
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


_REMEDY = (
    "If memory ran out, lower distributed.workers or distributed.prefetch, or give the machine "
    "more shared memory (a container: --shm-size)."
)
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MOST_WORKERS = 8

_Batches = Generator[Batch, None, None]
_Slab = np.ndarray[tuple[int], np.dtype[np.float32]]


def fitting_workers(wanted: int | Literal["auto"], processes: int) -> int:
    """Loader processes for each of the training processes on this machine; 0: read in-process.

    A number stays as it is. `auto` shares out the cores that this process may use, by its affinity
    and its container's quota, leaves each training process one for itself, and gives at most 8:
    a GPU seldom computes faster than eight cores decode. Data in memory need none.
    """
    if wanted != "auto":
        return wanted
    # macOS and Windows have no affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        # Control group, version 2: `max 100000`, or `200000 100000` for two cores.
        quota, period = _QUOTA.read_text("ascii").split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    # One core for the training process itself.
    return max(0, min(_MOST_WORKERS, max(1, cores) // processes - 1))


def load(
    images: ImageSet,
    index_batches: Iterable[Sequence[int]],
    seed: int | None,
    workers: int,
    *,
    prefetch: int = 2,
    pin: bool = False,
) -> Iterator[Batch]:
    """The batches of a `Loader` that lives for this one call."""
    with Loader(images, workers, prefetch=prefetch, pin=pin) as loader:
        yield from loader.batches(index_batches, seed)


class Loader:
    """Reads batches of one split in processes that stay from epoch to epoch.

    Batches are the same to the bit for any number of workers, and no global random state changes.

    Args:
        images: the split.
        workers: processes that read; 0: this one does.
        prefetch: batches that each worker reads ahead.
        pin: put tensors into page-locked memory, from where a GPU copies faster and while
            it computes; without a GPU nothing is pinned.

    The workers start with the first batch. `LevelImages` are sent as levels through shared memory:
    workers x prefetch + 1 batches of the first one's size.
    """

    def __init__(
        self, images: ImageSet, workers: int, *, prefetch: int = 2, pin: bool = False
    ) -> None:
        self._images = images
        self._workers = workers
        self._prefetch = prefetch
        self._pin = pin and torch.cuda.is_available()
        self._slabs = Slabs()
        self._tasks = _Tasks()
        self._processes: DataLoader[Any] | None = None
        self._slots: Tensor | None = None
        self._running: _Batches | None = None

    def batches(self, index_batches: Iterable[Sequence[int]], seed: int | None) -> Iterator[Batch]:
        """The batches of these indices, in order. Ends what an earlier call has left to read.

        The seed augments and is one epoch's own: give each epoch another. Raises the `DataError`
        of a broken file and `RunError` if a worker dies.
        """
        # An unfinished epoch must not leave answers that the next one would take for its own.
        self._stop()
        if self._workers:
            self._running = self._sent(index_batches, seed)
        else:
            self._running = (
                self._pinned(self._images.batch(indices, seed)) for indices in index_batches
            )
        return self._running

    def close(self) -> None:
        """End the workers; later batches would start new ones."""
        self._stop()
        self._processes = self._slots = None  # a DataLoader ends its workers when it is deleted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
        self._running = None

    def _sent(self, index_batches: Iterable[Sequence[int]], seed: int | None) -> _Batches:
        try:
            for task, answer in self._answers(index_batches, seed):
                if isinstance(answer, DataError):
                    raise answer
                yield self._received(task, answer)
            return
        except RuntimeError as error:
            # torch raises a plain RuntimeError, which its text alone distinguishes.
            if "DataLoader worker (pid" not in str(error):
                raise
            reason = str(error)
        self._processes = None
        # Not from torch's error, whose frames would keep the other workers waiting.
        raise RunError(f"a loader process died: {reason}\n{_REMEDY}")

    def _answers(
        self, index_batches: Iterable[Sequence[int]], seed: int | None
    ) -> Iterator[tuple[_Task, Batch | DataError | None]]:
        rest = iter(index_batches)
        first = next(rest, None)
        if first is None:
            return iter(())
        # One batch is being finished while each worker may be `prefetch` ahead. Slots are reused in
        # this order, so none is overwritten before its batch was finished.
        num_slots = self._workers * self._prefetch + 1
        if self._processes is None:
            shape = getattr(self._images, "level_shape", None)
            if shape is not None:
                self._slots = _shared((num_slots, len(first), *shape))  # (slots, B, C, S, S)
            self._processes = DataLoader(
                _Reader(self._images, self._slots),
                sampler=self._tasks,
                batch_size=None,  # each item is a batch already
                num_workers=self._workers,
                prefetch_factor=self._prefetch,
                persistent_workers=True,
                collate_fn=_unchanged,
                # Its own, since a loader otherwise draws its workers' seed from the global one.
                generator=torch.Generator(),
            )
        self._tasks.begin(chain([first], rest), seed, num_slots)
        with _own_child_handler():
            return iter(self._processes)

    def _received(self, task: _Task, answer: Batch | None) -> Batch:
        # Sent whole: an image set without levels, or a batch too large for its slot.
        if answer is not None:
            return self._pinned(answer)
        levels = cast("Tensor", self._slots)[task.slot, : len(task.indices)]  # (B, C, S, S)
        if self._pin:
            # torch caches pinned memory itself.
            out = torch.empty(levels.shape, pin_memory=True)
        else:
            out = self._slabs.empty(levels.shape)
        images = cast("LevelImages", self._images)
        return self._pinned(images.finished(levels, task.indices, task.seed, out))

    def _pinned(self, batch: Batch) -> Batch:
        if not self._pin:
            return batch
        return replace(batch, images=batch.images.pin_memory(), labels=batch.labels.pin_memory())


@contextmanager
def _own_child_handler() -> Iterator[None]:
    """Let torch start workers without its SIGCHLD handler.

    That raises at whatever line the main process executes when a worker dies, in the middle of a
    checkpoint, say. The loader checks its workers anyway, every five seconds that it waits.
    """
    if current_thread() is not main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def _shared(shape: tuple[int, ...]) -> Tensor:
    levels = torch.empty(shape, dtype=torch.uint8)
    try:
        # Before the workers start, which inherit it; pages are allocated only when written.
        levels.share_memory_()  # type: ignore[no-untyped-call]
        return levels
    except RuntimeError as error:
        needed = f"{prod(shape) / 2**20:.0f} MiB of shared memory"
        raise RunError(f"loader processes need {needed}: {error}\n{_REMEDY}") from error


@dataclass(frozen=True, slots=True)
class _Task:
    indices: Sequence[int]
    seed: int | None
    slot: int


class _Tasks:
    """The batches to read. A torch loader iterates over the same object in each epoch."""

    def __init__(self) -> None:
        self._next: Iterator[_Task] = iter(())

    def begin(self, index_batches: Iterable[Sequence[int]], seed: int | None, slots: int) -> None:
        self._next = (
            _Task(indices, seed, number % slots) for number, indices in enumerate(index_batches)
        )

    def __iter__(self) -> Iterator[_Task]:
        return self._next


@dataclass(frozen=True)
class _Reader(Dataset[Any]):
    """A data set whose items are whole batches."""

    images: ImageSet
    slots: Tensor | None

    def __getitem__(self, task: _Task) -> tuple[_Task, Batch | DataError | None]:
        """None for a batch whose levels were written to its slot."""
        try:
            # A batch larger than the first does not fit its slot and is sent whole.
            if self.slots is None or len(task.indices) > self.slots.shape[1]:
                return task, self.images.batch(task.indices, task.seed)
            images = cast("LevelImages", self.images)
            images.levels(task.indices, task.seed, self.slots[task.slot, : len(task.indices)])
        except DataError as error:
            # As a value: raised, it would reach the user wrapped in a worker's traceback.
            return task, DataError(str(error))
        return task, None


# At module level: a spawned worker has to unpickle it.
def _unchanged(item: Any) -> Any:
    return item


class Slabs:
    """Float tensors whose memory is reused once no tensor refers to it.

    The system hands out fresh memory page by page, and a batch of 64 images has nearly ten
    thousand: that can take longer than decoding them.
    """

    def __init__(self) -> None:
        self._free: list[_Slab] = []

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """A float32 tensor of this shape with no set values."""
        size = int(np.prod(shape))
        slab = self._free.pop() if self._free else np.empty(size, dtype=np.float32)
        if slab.size < size:  # the last batch of an epoch may have left a smaller one
            slab = np.empty(size, dtype=np.float32)
        # The tensor, its views and whatever autograd keeps of it all refer to this array, so its
        # finalizer runs after the last of them.
        lease = slab[:size]
        back = weakref.finalize(lease, self._free.append, slab)
        back.atexit = False  # nothing needs the memory then
        return torch.from_numpy(lease).view(shape)
