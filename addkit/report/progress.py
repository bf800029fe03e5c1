"""What metrics.jsonl tells of steps: losses by noise level, and where the time went. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from addkit.report.figures.lines import Line
from addkit.report.figures.loss_by_time import PURE_NOISE
from addkit.report.figures.style import spread
from addkit.report.run_files import NotShownError, pieces
from addkit.runs import Run

Point = tuple[float, float]

MOMENTS = 4
"""Of a training that are shown."""


def losses_by_time(run: Run) -> list[Line]:
    """Mean loss by t at moments from the first to the last; bins without a loss are left out.

    Raises:
        NotShownError: no line has `loss_by_time`.
    """
    told = [entry for entry in run.metrics() if entry.get("loss_by_time")]
    if not told:
        raise NotShownError(
            "metrics.jsonl holds no losses by noise level; `addkit train RECIPE` writes them, "
            "where labels have noise levels"
        )
    shown = [told[place] for place in spread(len(told), MOMENTS)]
    return _lines({f"up to step {one['step']}": _curve(one["loss_by_time"]) for one in shown})


def _curve(losses: Mapping[str, float]) -> list[Point]:
    return [(_middle(bin_), loss) for bin_, loss in losses.items()]


def _middle(bin_: str) -> float:
    """Of `0.1-0.2`, or of `T`."""
    if bin_ == "T":
        return PURE_NOISE
    low, high = map(float, bin_.split("-"))
    return (low + high) / 2


def step_times(run: Run) -> list[Line]:
    """Milliseconds a step of each part, up to 60 means over as many steps each.

    Raises:
        NotShownError: no line has `parts`.
    """
    means = pieces([entry for entry in run.metrics() if entry.get("parts")])
    names = dict.fromkeys(name for part in means for entry in part for name in entry["parts"])
    if not names:
        raise NotShownError(
            "metrics.jsonl holds no times of parts of a step; `addkit train RECIPE` writes them"
        )
    return _lines({name: _times(name, means) for name in names})


def _times(name: str, means: Sequence[Sequence[dict[str, Any]]]) -> list[Point]:
    return [
        (
            sum(entry["step"] for entry in part) / len(part),
            1000 * sum(entry["parts"].get(name, 0.0) for entry in part) / len(part),
        )
        for part in means
    ]


def _lines(curves: Mapping[str, Sequence[Point]]) -> list[Line]:
    """What a logarithmic axis can show."""
    above = {name: [point for point in points if point[1] > 0] for name, points in curves.items()}
    return [Line(name, *zip(*points, strict=True)) for name, points in above.items() if points]
