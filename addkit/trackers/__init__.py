"""Trackers: who follows a training, beside the run's own metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from addkit.plugin.spec import Config, Problem, Spec, TrackerSpec, hookimpl

if TYPE_CHECKING:
    from addkit.plugin.tracking import Tracker

__all__ = ["NoneConfig", "TensorBoardConfig"]


class NoneConfig(Config):
    """The run's own metrics.jsonl is enough."""


class TensorBoardConfig(Config):
    """Event files in the run's folder `tensorboard`, written out about every two minutes."""


def _none(config: NoneConfig, problem: Problem) -> None:
    return None


def _tensorboard(config: TensorBoardConfig, problem: Problem) -> Tracker:
    from addkit.trackers.tensorboard import TensorBoard

    return TensorBoard()


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in trackers."""
    yield TrackerSpec(name="none", config=NoneConfig, build=_none, summary="metrics.jsonl alone.")
    yield TrackerSpec(
        name="tensorboard",
        config=TensorBoardConfig,
        build=_tensorboard,
        summary="TensorBoard's event files, in the run's folder.",
    )
