"""Schedules seen by a label of K classes, side by side, and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import ValidationError
from torch import Tensor

from addkit.diffusion.information import INFORMATIVE, Profile, profile
from addkit.errors import UsageError
from addkit.plugin import load_registry
from addkit.plugin.spec import Problem, Spec

__all__ = ["ENDINGS", "POINTS", "View", "check_picture", "draw_views", "views"]

ENDINGS = (".png", ".svg")
POINTS = 101
"""Times from 0 to 1, evenly."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, told apart by colour-blind people too."""
LINES = ("-", "--", ":", "-.")


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
    scaled = "scale" in spec.config.model_fields
    for settings in [{"scale": scale} for scale in scales] if scaled and scales else [{}]:
        try:
            config = spec.config.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "settings"
            found = f" {settings[where]:g}" if where in settings else ""
            raise UsageError(f'schedule "{spec.name}": {where}{found}: {first["msg"]}') from error
        scale = getattr(config, "scale", 1.0)
        schedule = spec.build(config, Problem(num_classes=num_classes, scale=scale))
        yield View(spec.name, schedule.scale, profile(schedule, num_classes, times))


def check_picture(path: Path) -> None:
    """Raise `UsageError` if no picture can be written there."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f'-o {path}: ending "{path.suffix}"; known: {", ".join(ENDINGS)}')
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: there is no folder {path.parent}")


def draw_views(path: Path, shown: Sequence[View], num_classes: int) -> None:
    """Four panels over t: alpha_bar, log SNR, P(arg max) and bits, a line for each view.

    Raises:
        UsageError: another file ending, or no such folder.
    """
    check_picture(path)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 6.2))
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 2).flatten()
        for axis, (title, name) in zip(axes, PANELS.items(), strict=True):
            _panel(axis, title, name, shown)
        axes[1].set_ylim(-12, 12)
        _mark_informative(axes[3], float(torch.tensor(num_classes).log2()))
        lines, titles = axes[0].get_legend_handles_labels()
        figure.suptitle(f"A label of {num_classes:,} classes", x=0.01, ha="left")
        figure.legend(lines, titles, loc="lower center", ncols=2, frameon=False)
        figure.tight_layout(rect=(0, 0.04 + 0.03 * ((len(shown) + 1) // 2), 1, 1))
        figure.savefig(path, dpi=150)


PANELS = {
    "alpha_bar": "alpha_bar",
    "log SNR (nats)": "log_snr",
    "P(arg max of y_t is the label)": "probability",
    "I(label; y_t) in bits": "bits",
}
"""Title and field of `Profile`."""


def _panel(axis: Axes, title: str, name: str, shown: Sequence[View]) -> None:
    names = list(dict.fromkeys(view.schedule for view in shown))
    scales = list(dict.fromkeys(view.scale for view in shown))
    for view in shown:
        colour = COLOURS[names.index(view.schedule) % len(COLOURS)]
        line = LINES[scales.index(view.scale) % len(LINES)]
        y = getattr(view.profile, name).numpy()
        axis.plot(view.profile.t.numpy(), y, line, color=colour, label=view.title)
    axis.set_title(title, loc="left")
    axis.set_xlabel("t")


def _mark_informative(axis: Axes, bits: float) -> None:
    low, high = (share * bits for share in INFORMATIVE)
    axis.axhspan(low, high, color="#000000", alpha=0.06, linewidth=0)
