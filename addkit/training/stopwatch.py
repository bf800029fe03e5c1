"""Where the time of an optimizer step goes, and how much GPU memory it took."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch


class Stopwatch:
    """Splits the time of a step into named laps, one behind the other.

    On a GPU a lap is what passes on its stream between two events, so that measuring waits for
    nothing: work that was only launched counts in the lap that launched it, and `data` is how
    long the stream ran dry. Elsewhere it is wall time.

    Args:
        device: of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._gpu = device.type == "cuda"
        self._laps: list[tuple[str, Any, Any]] = []
        """Name, start and end of laps that `seconds` has not returned yet."""
        self._start: Any = None

    def start(self) -> None:
        """Begin the first lap here; time since the last lap counts nowhere."""
        self._start = self._event() if self._gpu else perf_counter()

    def lap(self, name: str) -> None:
        """End a lap: the time since the one before. Laps of one name add up."""
        now = self._event() if self._gpu else perf_counter()
        self._laps.append((name, self._start, now))
        self._start = now

    def seconds(self) -> dict[str, float]:
        """Seconds of each name since the last call, which are then forgotten.

        On a GPU, call it behind the step's own synchronisation. A lap that is still running there,
        such as the optimizer's update, is returned by the next call, with the next step.
        """
        total: dict[str, float] = {}
        running = []
        for name, start, end in self._laps:
            if not self._gpu:
                total[name] = total.get(name, 0.0) + end - start
            elif end.query():
                total[name] = total.get(name, 0.0) + start.elapsed_time(end) / 1000
            else:
                running.append((name, start, end))
        self._laps = running
        return total

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that tensors took on the GPU since the process began; None elsewhere."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device)
