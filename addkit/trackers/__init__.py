"""Trackers: where metrics go besides the run's own metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Spec, TrackerSpec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in trackers."""
    yield TrackerSpec(
        name="none",
        config="addkit.trackers.settings:NoneConfig",
        # No tracker at all: metrics.jsonl is written in any case.
        build=lambda *_: None,
        summary="metrics.jsonl alone.",
    )
    yield TrackerSpec(
        name="tensorboard",
        config="addkit.trackers.settings:TensorBoardConfig",
        build="addkit.trackers.tensorboard:TensorBoard",
        summary="TensorBoard's event files, in the run's folder.",
    )
