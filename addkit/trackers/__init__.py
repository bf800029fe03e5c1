"""Trackers: where metrics go besides the run's own metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Spec, TrackerSpec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in trackers."""
    yield TrackerSpec("none", ".settings:NoneConfig", lambda *_: None, "metrics.jsonl alone.")
    yield TrackerSpec(
        "tensorboard",
        ".settings:TensorBoardConfig",
        ".tensorboard:TensorBoard",
        "TensorBoard's event files, in the run's folder.",
    )
