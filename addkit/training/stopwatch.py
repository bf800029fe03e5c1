"""Where the time of an optimizer step goes, and how much GPU memory it took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import torch


class Stopwatch:
    """Splits time into named parts, which must not lie within each other.

    On a GPU a part is what passes on its stream between two events, so that measuring waits for
    nothing: work that was only launched counts in the part that launched it, and `data` is how
    long the stream ran dry. Elsewhere it is wall time.

    Args:
        device: where the network lies.
    """

    def __init__(self, device: torch.device) -> None:
        self._clock = _StreamClock(device) if device.type == "cuda" else _WallClock()
        self._laps: list[tuple[str, Any, Any]] = []
        """Name, start and end of what has not been told."""

    def part(self, name: str) -> AbstractContextManager[None]:
        """All that happens within; parts of one name add up, also those that raise."""
        return _Lap(name, self._clock.now, self._laps)

    def seconds(self) -> dict[str, float]:
        """Each part since the last call, and forget them.

        On a GPU ask behind the step's own synchronisation. What is still under way then, such as
        the optimizer's update, is told by the next call, in the next step's stead.
        """
        told: defaultdict[str, float] = defaultdict(float)
        running = []
        for lap in self._laps:
            name, start, end = lap
            if self._clock.is_past(end):
                told[name] += self._clock.between(start, end)
            else:
                running.append(lap)
        self._laps[:] = running
        return dict(told)


class _Lap:
    """One part. A class, since a generator would take twice as long."""

    __slots__ = ("_laps", "_name", "_now", "_start")

    def __init__(self, name: str, now: Callable[[], Any], laps: list[tuple[str, Any, Any]]) -> None:
        self._name, self._now, self._laps = name, now, laps

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, *error: object) -> None:
        self._laps.append((self._name, self._start, self._now()))


class _WallClock:
    """Moments of this process."""

    def now(self) -> float:
        return perf_counter()

    def is_past(self, moment: float) -> bool:
        return True

    def between(self, start: float, end: float) -> float:
        return end - start


class _StreamClock:
    """Moments of a GPU's current stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def is_past(self, moment: torch.cuda.Event) -> bool:
        past: bool = moment.query()  # type: ignore[no-untyped-call]
        return past

    def between(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1000


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that tensors took on the GPU since the process began; None elsewhere."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device)
