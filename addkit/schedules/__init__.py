"""Noise schedules: alpha_bar(t), the cumulative signal power, from 1 (clean) to 0 (pure noise)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import ScheduleSpec, Spec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in schedules."""
    yield ScheduleSpec(
        name="linear",
        config="addkit.schedules.settings:LinearConfig",
        build="addkit.schedules.linear:LinearSchedule",
        summary="Linear beta (DDPM).",
    )
    yield ScheduleSpec(
        name="cosine",
        config="addkit.schedules.settings:CosineConfig",
        build="addkit.schedules.cosine:CosineSchedule",
        summary="Cosine.",
    )
    yield ScheduleSpec(
        name="sigmoid",
        config="addkit.schedules.settings:SigmoidConfig",
        build="addkit.schedules.sigmoid:SigmoidSchedule",
        summary="Sigmoid.",
    )
    yield ScheduleSpec(
        name="label-accuracy",
        config="addkit.schedules.settings:LabelAccuracyConfig",
        build="addkit.schedules.label_accuracy:LabelAccuracySchedule",
        summary="K-aware: the label's identity fades evenly.",
    )
