"""Schedules side by side: how informative a noisy label is over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from addkit.diffusion.information import INFORMATIVE
from addkit.report.figures.style import FAINT, line_style, new_figure, styled
from addkit.report.schedule_profiles import ScheduleProfile

PANELS = {
    "alpha_bar": "alpha_bar",
    "log SNR (nats)": "log_snr",
    "P(arg max of y_t is the label)": "probability",
    "I(label; y_t) in bits": "bits",
}
"""Title and field of `Profile`."""
LOG_SNR = (-12, 12)
"""Limits of the axis; the values run from -inf to inf."""
ROW, ENTRY = 1.7, 0.2
"""Inches of a panel and of a line of the legend."""


@styled
def draw_schedules(data: Sequence[ScheduleProfile], num_classes: int) -> Figure:
    """Four panels over t, a line for each schedule; the band marks the informative bits."""
    figure = new_figure(ROW * len(PANELS) + ENTRY * len(data) + 0.4)
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    for axis, (title, name) in zip(axes, PANELS.items(), strict=True):
        for number, each in enumerate(data):
            y = getattr(each.profile, name).numpy()
            style = line_style(number)
            axis.plot(each.profile.t.numpy(), y, label=each.title, markevery=10, **style)
        axis.set_title(title, loc="left")
    axes[1].set_ylim(*LOG_SNR)
    # In bits, as shares of the label's entropy: between both a step of the chain can decide.
    low, high = (share * math.log2(num_classes) for share in INFORMATIVE)
    axes[3].axhspan(low, high, color=FAINT, alpha=0.2, linewidth=0)
    axes[3].set_xlabel("t")
    figure.suptitle(f"A label of {num_classes:,} classes", x=0.01, ha="left")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left")
    return figure
