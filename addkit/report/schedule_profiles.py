"""The profiles of several schedules for a label of K classes."""

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
    """The profile of one schedule at one scale."""

    schedule: str
    scale: float
    profile: Profile

    @property
    def title(self) -> str:
        """Legend and table heading."""
        share = f"{100 * self.profile.share:.0f} % of training times are informative"
        return f"{self.schedule}, b = {self.scale:g}: {share}"

    def data(self) -> dict[str, Any]:
        """For JSON; log SNR is null where alpha_bar = 0."""
        profile = self.profile
        return {
            "schedule": self.schedule,
            "scale": self.scale,
            "informative_share": profile.share,
            "t": profile.t.tolist(),
            "alpha_bar": profile.alpha_bar.tolist(),
            "log_snr": [None if x == -torch.inf else x for x in profile.log_snr.tolist()],
            "p_arg_max": profile.probability.tolist(),
            "bits": profile.bits.tolist(),
        }


def views(names: Sequence[str], scales: Sequence[float], num_classes: int) -> list[View]:
    """The profile of each named schedule at each scale, with default settings otherwise.

    A schedule whose settings have no scale has one.

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
