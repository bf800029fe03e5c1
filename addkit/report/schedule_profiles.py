"""Schedules seen by a label of K classes, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from addkit.diffusion.information import Profile, profile
from addkit.errors import UsageError
from addkit.plugin import load_registry
from addkit.plugin.spec import Problem, Spec

POINTS = 101
"""Times from 0 to 1, evenly."""


@dataclass(frozen=True, slots=True)
class View:
    """One schedule at one scale."""

    schedule: str
    scale: float
    profile: Profile

    @property
    def title(self) -> str:
        """A line for people."""
        share = f"{100 * self.profile.share:.0f} % of training times are informative"
        return f"{self.schedule}, b = {self.scale:g}: {share}"

    def data(self) -> dict[str, Any]:
        """As JSON has it; log SNR is null where there is no signal."""
        told = self.profile
        return {
            "schedule": self.schedule,
            "scale": self.scale,
            "informative_share": told.share,
            "t": told.t.tolist(),
            "alpha_bar": told.alpha_bar.tolist(),
            "log_snr": [None if x == -torch.inf else x for x in told.log_snr.tolist()],
            "p_arg_max": told.probability.tolist(),
            "bits": told.bits.tolist(),
        }


def views(names: Sequence[str], scales: Sequence[float], num_classes: int) -> list[View]:
    """Each named schedule at each scale, with its other settings at their defaults.

    A schedule whose settings have no scale is shown once, as it is.

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
    times = torch.linspace(0, 1, POINTS, dtype=torch.float64)
    return [view for spec in specs for view in _views(spec, scales, num_classes, times)]


def _views(
    spec: Spec[Any, Any], scales: Sequence[float], num_classes: int, times: Tensor
) -> Iterator[View]:
    scaled = "scale" in spec.settings.model_fields
    for settings in [{"scale": scale} for scale in scales] if scaled and scales else [{}]:
        try:
            config = spec.settings.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "settings"
            found = f" {settings[where]:g}" if where in settings else ""
            raise UsageError(f'schedule "{spec.name}": {where}{found}: {first["msg"]}') from error
        scale = getattr(config, "scale", 1.0)
        schedule = spec.create(config, Problem(num_classes=num_classes, scale=scale))
        yield View(spec.name, schedule.scale, profile(schedule, num_classes, times))
