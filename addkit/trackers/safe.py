"""A tracker that cannot hurt its training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from addkit.errors import AddkitWarning
from addkit.plugin.tracking import Tracker


class SafeTracker:
    """Hands lines of metrics.jsonl to a tracker. What that raises is told once; training goes on.

    Args:
        name: of the tracker, for the warning.
        tracker: None tracks nothing.
    """

    def __init__(self, name: str, tracker: Tracker | None) -> None:
        self._name = name
        self._tracker = tracker
        self._warned = False

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        """A training starts or goes on."""
        self._try(lambda tracker: tracker.begin(run, recipe))

    def line(self, entry: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl, which has a `step`."""
        self._try(lambda tracker: tracker.log(entry["step"], numbers_of(entry)))

    def close(self) -> None:
        """The training is over."""
        self._try(lambda tracker: tracker.close())

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f'the tracker "{self._name}" failed ({type(error).__name__}: {error}); training goes '
            "on, and metrics.jsonl has every line. This is not said again",
            AddkitWarning,
            stacklevel=4,
        )


def numbers_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line by name, its `step` aside.

    What lies deeper is called `parts/data`; what was scored on a split `test/top1`.
    """
    split = entry.get("split")
    return dict(_numbers(entry, f"{split}/" if split else ""))


def _numbers(entry: Mapping[str, Any], before: str) -> Iterator[tuple[str, float]]:
    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{key}/")
        elif isinstance(value, int | float) and key != "step":
            yield f"{before}{key}", float(value)
