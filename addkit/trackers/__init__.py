"""Trackers: who follows a training, beside the run's own metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import Config, Problem, Spec, TrackerSpec, hookimpl

__all__ = ["NoneConfig", "TensorBoardConfig"]


class NoneConfig(Config):
    """The run's own metrics.jsonl is enough."""


class TensorBoardConfig(Config):
    """Event files in the run's folder `tensorboard`, written out about every two minutes."""


def _none(config: NoneConfig, problem: Problem) -> None:
    return None


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in trackers."""
    yield TrackerSpec(name="none", config=NoneConfig, build=_none, summary="metrics.jsonl alone.")
    yield TrackerSpec(
        name="tensorboard",
        config=TensorBoardConfig,
        build="addkit.trackers.tensorboard:TensorBoard",
        summary="TensorBoard's event files, in the run's folder.",
    )
