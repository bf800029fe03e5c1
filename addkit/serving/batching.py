"""Requests that arrive together are answered together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):  # noqa: N818 - a state, which passes
    """As many items wait as may."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    key: Hashable
    largest: int
    answer: asyncio.Future[Result] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher(Generic[Item, Result]):
    """Computes results of single items in batches, on one thread, in the order of their arrival.

    While a batch is computed, items gather, and all that fit the oldest of them are the next batch:
    an idle server makes nobody wait, and a busy one has large batches.

    Args:
        compute: the results of items with equal keys, in order; called on the thread.
        most: items that may wait.
    """

    def __init__(self, compute: Callable[[Sequence[Item]], Sequence[Result]], most: int) -> None:
        self._compute, self._most = compute, most
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="addkit-model")
        self._runner: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def result(self, item: Item, key: Hashable, largest: int) -> Result:
        """The result of an item.

        Args:
            item: see `compute`.
            key: items with equal keys may share a batch.
            largest: size of such a batch.

        Raises:
            QueueFull: too many items wait already.
            Exception: what `compute` raised for the batch.
        """
        if len(self._waiting) >= self._most:
            raise QueueFull
        waiting = _Waiting[Item, Result](item, key, largest)
        self._waiting.append(waiting)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await waiting.answer

    async def _run(self) -> None:
        """Compute until nobody waits."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._next()
                try:
                    items = [each.item for each in batch]
                    results = await loop.run_in_executor(self._thread, self._compute, items)
                except Exception as error:
                    for each in batch:
                        # The client of a cancelled one is gone.
                        if not each.answer.done():
                            each.answer.set_exception(error)
                else:
                    for each, result in zip(batch, results, strict=True):
                        if not each.answer.done():
                            each.answer.set_result(result)
        finally:
            self._runner = None

    def _next(self) -> list[_Waiting[Item, Result]]:
        """Take the oldest item, and as many of its key as may share its batch."""
        first = self._waiting[0]
        batch: list[_Waiting[Item, Result]] = []
        others: deque[_Waiting[Item, Result]] = deque()
        while self._waiting:
            each = self._waiting.popleft()
            fits = each.key == first.key and len(batch) < first.largest
            (batch if fits else others).append(each)
        self._waiting = others
        return batch

    async def close(self) -> None:
        """Wait for the items that are left, then end the thread."""
        if self._runner is not None:
            with suppress(asyncio.CancelledError):
                await self._runner
        self._thread.shutdown()
