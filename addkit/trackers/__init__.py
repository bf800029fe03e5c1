"""Trackers: where metrics go besides the run's own metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Problem, Spec, TrackerSpec, hookimpl

if TYPE_CHECKING:
    from addkit.trackers.settings import NoneConfig


def _none(config: NoneConfig, problem: Problem) -> None:
    return None


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in trackers."""
    yield TrackerSpec("none", ".settings:NoneConfig", _none, "metrics.jsonl alone.")
    yield TrackerSpec(
        "tensorboard",
        ".settings:TensorBoardConfig",
        ".tensorboard:TensorBoard",
        "TensorBoard's event files, in the run's folder.",
    )
