"""Reading batches, in this process or in worker processes: with equal batches."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from addkit.data.image_sets import LevelImages
from addkit.errors import DataError, RunError
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet

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
