"""T discrete steps beside continuous times: what differs, and by how much."""

from __future__ import annotations

import pytest
import torch

from addkit.diffusion import TimeSettings, draw_times
from addkit.plugin import Problem, load_registry
from addkit.recipe import read_recipe
from addkit.schedules.closed_form import LinearSchedule
from addkit.schedules.settings import LinearConfig
from addkit.timesteps.discrete import DiscreteTimes
from addkit.timesteps.settings import DiscreteConfig


def _times(steps: int, power: float = 1.0) -> DiscreteTimes:
    return DiscreteTimes(DiscreteConfig(steps=steps), power)


@pytest.mark.parametrize("steps", [1, 4, 1000])
def test_times_are_the_multiples_of_one_step_and_uniform(steps: int) -> None:
    u = (torch.arange(100 * steps, dtype=torch.float64) + 0.5) / (100 * steps)
    t, counts = _times(steps)(u).unique(return_counts=True)
    torch.testing.assert_close(t, torch.arange(1, steps + 1, dtype=torch.float64) / steps)
    assert counts.tolist() == [100] * steps


def test_draws_of_training_are_on_the_grid() -> None:
    settings = TimeSettings(warp=_times(8), pure_noise=0.25)
    t = draw_times((64, 4, 3), torch.Generator().manual_seed(0), settings)
    assert set((8 * t).unique().tolist()) == set(range(1, 9))


@pytest.mark.parametrize("steps", [10, 1000])
def test_alpha_bar_differs_from_the_continuous_one_by_its_slope_over_t(steps: int) -> None:
    schedule = LinearSchedule(LinearConfig())
    u = torch.linspace(1e-4, 1, 50_001, dtype=torch.float64)
    difference = schedule.alpha_bar(u) - schedule.alpha_bar(_times(steps)(u))
    slope = (schedule.alpha_bar(u).diff() / u.diff()).abs().max()
    assert float(difference.min()) >= 0
    assert float(difference.max()) <= float(slope) / steps
    assert float(slope) == pytest.approx(2.72, abs=0.02)


def test_t_power_of_the_schedule_applies() -> None:
    spec = load_registry().get("timesteps", "discrete").spec
    times = spec.create(spec.settings(steps=4), Problem(t_power=0.5))
    assert times(torch.tensor([0.01, 0.25, 0.3, 1.0])).tolist() == [0.25, 0.5, 0.75, 1.0]


def test_a_recipe_takes_it(recipes) -> None:
    changes = ["timesteps.name=discrete", "timesteps.steps=50"]
    assert read_recipe(recipes / "fashion-mnist-paper.toml", changes).choices["timesteps"].config
