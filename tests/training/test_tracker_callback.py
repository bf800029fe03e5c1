from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from addkit.errors import AddkitWarning
from addkit.training.callbacks import TrackerCallback, numbers_of


class Remembers:
    """A tracker that fails in the calls it is told to."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.calls: list[tuple[Any, ...]] = []

    def _call(self, name: str, *given: Any) -> None:
        if name in self.failing:
            raise ConnectionError("no route")
        self.calls.append((name, *given))

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        self._call("begin", run, recipe)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._call("log", step, values)

    def close(self) -> None:
        self._call("close")


TRAINER: Any = SimpleNamespace(
    run=SimpleNamespace(path=Path("runs/x")), recipe=SimpleNamespace(tables=lambda: {"seed": 1})
)


def followed(tracker: Remembers | None) -> None:
    callback = TrackerCallback("mine", tracker)
    callback.begin(TRAINER)
    callback.log(TRAINER, {"step": 3, "loss": 2})
    callback.log(TRAINER, {"step": 4, "loss": 1.5})
    callback.end(TRAINER)


def test_a_sound_tracker_hears_everything() -> None:
    tracker = Remembers()
    followed(tracker)
    assert tracker.calls == [
        ("begin", "runs/x", {"seed": 1}),
        ("log", 3, {"loss": 2.0}),
        ("log", 4, {"loss": 1.5}),
        ("close",),
    ]


def test_no_tracker_hears_nothing() -> None:
    followed(None)


@pytest.mark.parametrize("failing", ["begin", "log", "close"])
def test_a_broken_tracker_is_told_once_and_asked_again(failing: str) -> None:
    tracker = Remembers(failing)
    with pytest.warns(AddkitWarning) as told:
        followed(tracker)
    (message,) = (str(warning.message) for warning in told)
    assert 'tracker "mine"' in message
    assert "ConnectionError: no route" in message
    assert {name for name, *_ in tracker.calls} == {"begin", "log", "close"} - {failing}


def test_a_warning_that_is_an_error_ends_it_no_more_than_once() -> None:
    callback = TrackerCallback("mine", Remembers("log"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AddkitWarning):
            callback.log(TRAINER, {"step": 1})
        callback.log(TRAINER, {"step": 2})


def test_an_interrupt_is_no_failure() -> None:
    tracker = Remembers()
    tracker.close = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        TrackerCallback("mine", tracker).end(TRAINER)


def test_numbers_of_a_line() -> None:
    line = {
        "step": 7,
        "loss": 0.5,
        "parts": {"data": 0.1},
        "note": "text",
        "curve": [1, 2],
        "nothing": None,
    }
    assert numbers_of(line) == {"loss": 0.5, "parts/data": 0.1}
    assert numbers_of({"step": 7, "epoch": 1, "split": "test", "top1": 90}) == {
        "test/epoch": 1.0,
        "test/top1": 90.0,
    }
