from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addkit.report.contents import figure_of
from addkit.report.figures.curves import PURE_NOISE
from addkit.report.run_files import NotShownError, losses_by_time, step_times
from addkit.report.sections import open_source
from addkit.runs import Run

from .made import made_run


def logged(path: Path, lines: list[dict[str, Any]]) -> Run:
    run = Run(made_run(path))
    for line in lines:
        run.log(line)
    return run


def test_losses_by_noise_level_at_four_moments(tmp_path: Path) -> None:
    by_time = {"0.0-0.1": 0.5, "0.9-1.0": 2.0, "T": 3.0}
    run = logged(tmp_path / "r", [{"step": n, "loss_by_time": by_time} for n in range(50, 60)])
    lines = losses_by_time(run)
    assert [line.name for line in lines] == [f"up to step {step}" for step in (50, 53, 56, 59)]
    assert lines[0].x == pytest.approx((0.05, 0.95, PURE_NOISE))
    assert lines[0].y == (0.5, 2.0, 3.0)


def test_a_loss_of_nothing_is_left_out(tmp_path: Path) -> None:
    """Weighted by alpha_bar, pure noise costs nothing, and the axis is logarithmic."""
    lines = [{"step": 50, "loss_by_time": {"0.0-0.1": 0.5, "T": 0.0}}]
    (line,) = losses_by_time(logged(tmp_path / "r", lines))
    assert line.y == (0.5,)
    lines = [{"step": 50, "loss_by_time": {"T": 0.0}}]
    assert losses_by_time(logged(tmp_path / "none", lines)) == []


def test_parts_of_a_step_are_means_in_milliseconds(tmp_path: Path) -> None:
    parts = [{"data": 0.001 * n, "forward": 0.5} for n in range(120)]
    parts[0]["checkpoint"] = 0.25
    lines = [{"step": 40 + n, "parts": part} for n, part in enumerate(parts)]
    data, forward, checkpoint = step_times(logged(tmp_path / "r", lines))
    assert (data.name, forward.name, checkpoint.name) == ("data", "forward", "checkpoint")
    assert data.x == pytest.approx([40.5 + 2 * n for n in range(60)])
    assert data.y == pytest.approx([0.5 + 2 * n for n in range(60)])
    assert set(forward.y) == {500.0}
    assert (checkpoint.x, checkpoint.y) == ((40.5,), (125.0,))


@pytest.mark.parametrize(
    ("name", "missing"),
    [("loss-by-time", "losses by noise level"), ("step-time", "times of parts")],
)
def test_a_run_without_them(tmp_path: Path, name: str, missing: str) -> None:
    with pytest.raises(
        NotShownError, match=rf'figure "{name}": .*{missing}.*`addkit train RECIPE`'
    ):
        figure_of(name, open_source(made_run(tmp_path / "r")))


@pytest.mark.parametrize("name", ["loss-by-time", "step-time"])
def test_both_become_figures(tmp_path: Path, name: str) -> None:
    line = {"step": 41, "parts": {"data": 0.01}, "loss_by_time": {"0.2-0.3": 1.0}}
    run = logged(tmp_path / "r", [line])
    shown = figure_of(name, open_source(run.path))
    assert f"`{run.path}/metrics.jsonl`" in shown.caption
    assert shown.draw is not None
    assert shown.draw().axes[0].lines
