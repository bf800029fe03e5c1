"""Information in the noisy labels of each schedule, for labels of K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from addkit.diffusion.information import Profile, profile
from addkit.errors import UsageError
from addkit.plugin import load_registry
from addkit.plugin.spec import Problem

POINTS = 101
"""Times from 0 to 1, evenly."""


@dataclass(frozen=True, slots=True)
class ScheduleProfile:
    """One schedule at one scale."""

    schedule: str
    scale: float
    profile: Profile

    @property
    def title(self) -> str:
        """The schedule, its scale and the share of informative times."""
        share = f"{100 * self.profile.share:.0f} % of training times are informative"
        return f"{self.schedule}, b = {self.scale:g}: {share}"

    def data(self) -> dict[str, Any]:
        """The JSON object; log SNR is null where there is no signal."""
        profile = self.profile
        return {
            "schedule": self.schedule,
            "scale": self.scale,
            "informative_share": profile.share,
            "t": profile.t.tolist(),
            "alpha_bar": profile.alpha_bar.tolist(),
            # JSON has no infinity.
            "log_snr": [None if x == -torch.inf else x for x in profile.log_snr.tolist()],
            "p_arg_max": profile.probability.tolist(),
            "bits": profile.bits.tolist(),
        }


def schedule_profiles(
    names: Sequence[str], scales: Sequence[float], num_classes: int
) -> list[ScheduleProfile]:
    """Each named schedule at each scale, with its other settings at their defaults.

    A schedule whose settings have no scale is profiled once.

    Args:
        names: any registered schedule's; none: all of them.
        scales: b; none: the schedule's own.
        num_classes: K, at least 2.

    Raises:
        PluginError: no such schedule.
        UsageError: a scale that the schedule refuses, or a schedule that needs more settings.
    """
    registry = load_registry()
    specs = [registry.get("schedule", name).spec for name in names or registry.names("schedule")]
    # fp64: 1 - alpha_bar near t = 0 has no digits left in fp32.
    times = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    profiles = []
    for spec in specs:
        scaled = "scale" in spec.settings.model_fields
        for settings in [{"scale": scale} for scale in scales] if scaled and scales else [{}]:
            try:
                config = spec.settings.model_validate(settings)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, first["loc"])) or "settings"
                value = f" {settings[key]:g}" if key in settings else ""
                raise UsageError(f'schedule "{spec.name}": {key}{value}: {first["msg"]}') from error
            # A plugin's schedule may have a scale that is no setting: below it is read from the
            # schedule, not from the config.
            scale = getattr(config, "scale", 1.0)
            schedule = spec.create(config, Problem(num_classes=num_classes, scale=scale))
            values = profile(schedule, num_classes, times)
            profiles.append(ScheduleProfile(spec.name, schedule.scale, values))
    return profiles
