"""Reading batches in an order that follows from (seed, epoch), whoever reads them."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from threading import current_thread, main_thread
from typing import Any, Protocol, Self, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from addkit.data.counting import uniforms
from addkit.data.slabs import Slabs
from addkit.diffusion.randomness import counted_seed
from addkit.errors import DataError, RunError
from addkit.plugin.facts import Batch
from addkit.plugin.protocols import ImageSet


def epoch_order(seed: int, epoch: int, size: int) -> Tensor:
    """A permutation of range(size), int64, that follows from (seed, epoch) alone."""
    keys = uniforms(counted_seed(seed, "order", epoch), torch.arange(size), 1)
    return keys[:, 0].argsort(stable=True)


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


_ROOM = (
    "If memory ran out, lower distributed.workers or distributed.prefetch, or give the machine "
    "more shared memory (a container: --shm-size)."
)
_Batches = Generator[Batch, None, None]


class LevelImages(ImageSet, Protocol):
    """An `ImageSet` whose `batch` is two steps: reading 8-bit levels, and making floats of them.

    A loader's processes do the first, and a quarter of the bytes passes between processes.
    """

    @property
    def level_shape(self) -> tuple[int, int, int]:
        """(C, S, S) of every image."""
        ...

    def levels(self, indices: Sequence[int], seed: int | None, out: Tensor) -> None:
        """Read these images into `out`, uint8 (B, C, S, S)."""
        ...

    def finished(
        self, levels: Tensor, indices: Sequence[int], seed: int | None, out: Tensor
    ) -> Batch:
        """The batch of what `levels` read, its images in `out`, float (B, C, S, S)."""
        ...


class Loader:
    """Reads batches of one split in processes that stay from epoch to epoch.

    Batches are the same to the bit for any number of workers, and no global random state changes.

    Args:
        images: the split.
        workers: processes that read; 0: this one does.
        prefetch: batches that each worker reads ahead.
        pin: whether tensors lie in page-locked memory, from where a GPU copies faster and while
            it computes; without a GPU nothing is pinned.

    The workers start with the first batch. `LevelImages` send their levels through memory that
    all share: workers x prefetch + 1 batches of the first one's size.
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
        self._stop()
        self._running = (self._sent if self._workers else self._read)(index_batches, seed)
        return self._running

    def close(self) -> None:
        """End the workers; later batches would start new ones."""
        self._stop()
        self._processes = self._slots = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
        self._running = None

    def _read(self, index_batches: Iterable[Sequence[int]], seed: int | None) -> _Batches:
        for indices in index_batches:
            yield self._pinned(self._images.batch(indices, seed))

    def _sent(self, index_batches: Iterable[Sequence[int]], seed: int | None) -> _Batches:
        try:
            for task, answer in self._answers(index_batches, seed):
                if isinstance(answer, DataError):
                    raise answer
                yield self._received(task, answer)
            return
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):
                raise
            reason = str(error)
        self._processes = None
        # Not from torch's error, whose frames would keep the other workers waiting.
        raise RunError(f"a loader process died: {reason}\n{_ROOM}")

    def _answers(
        self, index_batches: Iterable[Sequence[int]], seed: int | None
    ) -> Iterator[tuple[_Task, Batch | DataError | None]]:
        rest = iter(index_batches)
        first = next(rest, None)
        if first is None:
            return iter(())
        if self._processes is None:
            self._processes = self._started(len(first))
        self._tasks.begin(chain([first], rest), seed, self._num_slots)
        with _steady():
            return iter(self._processes)

    @property
    def _num_slots(self) -> int:
        # One batch is being finished while each worker has all it may have ahead.
        return self._workers * self._prefetch + 1

    def _started(self, size: int) -> DataLoader[Any]:
        shape = getattr(self._images, "level_shape", None)
        if shape is not None:
            self._slots = _shared((self._num_slots, size, *shape))
        return DataLoader(
            _Reader(self._images, self._slots),
            sampler=self._tasks,
            batch_size=None,
            num_workers=self._workers,
            prefetch_factor=self._prefetch,
            persistent_workers=True,
            collate_fn=_unchanged,
            # Its own, since a loader otherwise draws its workers' seed from the global generator.
            generator=torch.Generator(),
        )

    def _received(self, task: _Task, answer: Batch | None) -> Batch:
        if answer is not None:
            return self._pinned(answer)
        levels = cast("Tensor", self._slots)[task.slot, : len(task.indices)]
        if self._pin:
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
def _steady() -> Iterator[None]:
    """Let torch start workers without its SIGCHLD handler.

    That raises wherever the main process happens to be when a worker dies, in the middle of a
    checkpoint, say. The loader looks after its workers anyway, every five seconds that it waits.
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
        levels.share_memory_()  # type: ignore[no-untyped-call]
        return levels
    except RuntimeError as error:
        needed = f"{prod(shape) / 2**20:.0f} MiB of shared memory"
        raise RunError(f"loader processes need {needed}: {error}\n{_ROOM}") from error


@dataclass(frozen=True, slots=True)
class _Task:
    indices: Sequence[int]
    seed: int | None
    slot: int


class _Tasks:
    """What is to be read. A torch loader iterates over the same object in each epoch."""

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
        try:
            return task, self._read(task)
        except DataError as error:
            # As a value: raised, it would reach the user wrapped in a worker's traceback.
            return task, DataError(str(error))

    def _read(self, task: _Task) -> Batch | None:
        """None if the slot has it."""
        if self.slots is None or len(task.indices) > self.slots.shape[1]:
            return self.images.batch(task.indices, task.seed)
        images = cast("LevelImages", self.images)
        images.levels(task.indices, task.seed, self.slots[task.slot, : len(task.indices)])
        return None


def _unchanged(item: Any) -> Any:
    return item
