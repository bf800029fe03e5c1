"""Noise schedules: alpha_bar(t), the cumulative signal power, from 1 (clean) to 0 (pure noise)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from addkit.plugin.spec import ScheduleSpec, Spec, hookimpl


@hookimpl
def addkit_components() -> Iterable[Spec[Any, Any]]:
    """The built-in schedules."""
    yield ScheduleSpec(
        "linear", ".settings:LinearConfig", ".closed_form:LinearSchedule", "Linear beta (DDPM)."
    )
    yield ScheduleSpec("cosine", ".settings:CosineConfig", ".closed_form:CosineSchedule", "Cosine.")
    yield ScheduleSpec(
        "sigmoid", ".settings:SigmoidConfig", ".closed_form:SigmoidSchedule", "Sigmoid."
    )
    yield ScheduleSpec(
        "label-accuracy",
        ".settings:LabelAccuracyConfig",
        ".label_accuracy:LabelAccuracySchedule",
        "K-aware: the label's identity fades evenly.",
    )
