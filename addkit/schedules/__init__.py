"""Noise schedules: alpha_bar(t), the cumulative signal power, from 1 (clean) to 0 (pure noise)."""

from __future__ import annotations

from addkit.plugin.spec import ScheduleSpec, components

addkit_components = components(
    ScheduleSpec(
        "linear", ".settings:LinearConfig", ".closed_form:LinearSchedule", "Linear beta (DDPM)."
    ),
    ScheduleSpec("cosine", ".settings:CosineConfig", ".closed_form:CosineSchedule", "Cosine."),
    ScheduleSpec("sigmoid", ".settings:SigmoidConfig", ".closed_form:SigmoidSchedule", "Sigmoid."),
    ScheduleSpec(
        "label-accuracy",
        ".settings:LabelAccuracyConfig",
        ".label_accuracy:LabelAccuracySchedule",
        "K-aware: the label's identity fades evenly.",
    ),
)
