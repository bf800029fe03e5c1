"""Training times: the map u -> t. Strata and rows at t = T are set before, in u."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from addkit.plugin.spec import Choices, TimestepsSpec, components

if TYPE_CHECKING:
    from addkit.timesteps.settings import WarpedConfig


def _needs_a_rising_loss(config: WarpedConfig, choices: Choices) -> Iterable[str]:
    loss, process = choices["loss"], choices["process"]
    if "rises-with-t" not in loss.spec.provides:
        yield (
            f'[loss] "{loss.name}" does not provide "rises-with-t", as a plain cross-entropy does; '
            'use "ce", or timesteps.name = "power"'
        )
    # Masked tokens are clean or pure noise, so their loss at the times between does not exist.
    if "noise-levels" not in process.spec.provides:
        yield (
            f'[process] "{process.name}" does not provide "noise-levels", so there is no '
            'map to learn; use timesteps.name = "power"'
        )


addkit_components = components(
    TimestepsSpec(
        "power", ".settings:PowerConfig", lambda *_: None, "t = u ** t_power (paper: 1)."
    ),
    TimestepsSpec(
        "warped",
        ".settings:WarpedConfig",
        ".warped:WarpedTimes",
        "Learnt: the cross-entropy rises evenly in u (CDCD's time warping).",
        check=_needs_a_rising_loss,
    ),
)
