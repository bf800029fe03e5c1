from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch

from addkit.training import backend
from addkit.training.backend import Stopwatch, peak_memory

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that shows 0, 1, 2, ... seconds."""
    seconds = count()
    monkeypatch.setattr(backend, "perf_counter", lambda: next(seconds))


@pytest.mark.usefixtures("ticking")
def test_laps_of_one_name_add_up_and_are_forgotten() -> None:
    watch = Stopwatch(CPU)
    watch.start()
    for _ in range(2):
        watch.lap("forward")
        backend.perf_counter()
        watch.lap("backward")
    assert watch.seconds() == {"forward": 2, "backward": 4}
    assert watch.seconds() == {}


@pytest.mark.usefixtures("ticking")
def test_time_before_a_start_counts_nowhere() -> None:
    watch = Stopwatch(CPU)
    watch.start()
    watch.lap("data")
    for _ in range(5):
        backend.perf_counter()
    watch.start()
    watch.lap("checkpoint")
    assert watch.seconds() == {"data": 1, "checkpoint": 1}


class Stream:
    """A GPU that has done what was launched up to some moment; its clock counts events."""

    def __init__(self) -> None:
        self.launched = 0
        self.done = 0


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    gpu = Stream()

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any) -> None:
            assert stream == GPU
            gpu.launched += 1
            self.moment = gpu.launched

        def query(self) -> bool:
            return self.moment <= gpu.done

        def elapsed_time(self, end: Event) -> float:
            assert end.query(), "a GPU raises for events that are not past"
            return 1000.0 * (end.moment - self.moment)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    return gpu


def test_a_gpu_is_never_waited_for(stream: Stream) -> None:
    watch = Stopwatch(GPU)
    for _ in range(2):
        watch.start()
        watch.lap("forward")
        stream.done = stream.launched
        watch.lap("optimizer")
        seconds = watch.seconds()
        stream.done += 1
    # The first step's optimizer, returned with the second step.
    assert seconds == {"optimizer": 1.0, "forward": 1.0}
    stream.done = stream.launched
    assert watch.seconds() == {"optimizer": 1.0}
    assert watch.seconds() == {}


def test_memory_is_a_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 * (device == GPU))
    assert peak_memory(GPU) == 7
    assert peak_memory(CPU) is None
