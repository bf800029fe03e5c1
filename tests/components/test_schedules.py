from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from addkit.diffusion import probability_arg_max, signal_to_noise

EVERY = ["linear", "cosine", "sigmoid", "label-accuracy"]
K10 = {"num_classes": 10}


def _grid(points: int = 2001) -> torch.Tensor:
    return torch.linspace(0, 1, points, dtype=torch.double)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signal_falls_from_one_to_nothing(build, name: str, dtype) -> None:
    alpha_bar = build("schedule", name, K10).alpha_bar(_grid().to(dtype))
    assert alpha_bar.dtype == dtype
    assert (alpha_bar.diff() < 0).all()
    assert ((alpha_bar >= 0) & (alpha_bar <= 1)).all()
    # identity stops at P(arg max) = 1 - 1e-6, where m is about 7
    assert float(alpha_bar[0]) == pytest.approx(1.0, abs=0.03 if name == "label-accuracy" else 1e-6)
    assert float(alpha_bar[-1]) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_the_shape_of_t_is_kept(build, name: str) -> None:
    schedule = build("schedule", name, K10)
    t = torch.rand(2, 3, 1, generator=torch.Generator().manual_seed(0)).expand(2, 3, 4)
    alpha_bar = schedule.alpha_bar(t)
    assert alpha_bar.shape == t.shape
    single = torch.stack([schedule.alpha_bar(x) for x in t.flatten()]).view(t.shape)
    torch.testing.assert_close(alpha_bar, single)


def test_linear_is_the_exponential_of_the_integral_of_beta(build) -> None:
    t = _grid(20001)
    beta = 0.2 + (15.0 - 0.2) * t
    expected = (-torch.cumulative_trapezoid(beta, t)).exp()
    alpha_bar = build("schedule", "linear", beta_min=0.2, beta_max=15.0).alpha_bar(t)
    torch.testing.assert_close(alpha_bar[1:], expected, atol=1e-9, rtol=1e-6)


def test_linear_is_the_limit_of_the_thousand_steps_of_ddpm(build) -> None:
    steps = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.double), 0)
    alpha_bar = build("schedule", "linear").alpha_bar(torch.arange(1, 1001) / 1000)
    torch.testing.assert_close(alpha_bar.double(), steps, atol=3e-3, rtol=0)


@pytest.mark.parametrize("offset", [0.008, 0.1])
def test_cosine_is_its_formula(build, offset: float) -> None:
    t = _grid()
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    alpha_bar = build("schedule", "cosine", offset=offset).alpha_bar(t)
    torch.testing.assert_close(alpha_bar, f / f[0], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(("start", "end", "tau"), [(-3, 3, 1), (0, 3, 0.3), (-1, 5, 2)])
def test_sigmoid_runs_from_its_start_to_its_end(build, start, end, tau) -> None:
    schedule = build("schedule", "sigmoid", start=start, end=end, tau=tau)
    t = _grid()
    first, last = (torch.sigmoid(torch.tensor(x / tau).double()) for x in (start, end))
    expected = (last - torch.sigmoid((start + t * (end - start)) / tau)) / (last - first)
    torch.testing.assert_close(schedule.alpha_bar(t), expected, atol=1e-7, rtol=1e-6)
    assert schedule.alpha_bar(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([1, 0], abs=1e-6)


def test_sigmoid_must_rise(build) -> None:
    with pytest.raises(ValidationError, match=r"end \(1\.0\) must be above start \(2\.0\)"):
        build("schedule", "sigmoid", start=2, end=1)


@pytest.mark.parametrize("num_classes", [2, 10, 1000, 10112])
def test_identity_lets_the_label_fade_evenly(build, num_classes: int) -> None:
    t = torch.linspace(0.001, 1, 300, dtype=torch.double)
    alpha_bar = build("schedule", "label-accuracy", {"num_classes": num_classes}).alpha_bar(t)
    right = probability_arg_max(signal_to_noise(alpha_bar), num_classes)
    expected = 1 - (1 - 1 / num_classes) * t
    torch.testing.assert_close(right, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.25, 2.0, 8.0])
def test_identity_does_not_depend_on_the_scale(build, scale: float) -> None:
    """The scale is in alpha_bar, so that m stays what it was."""
    t = _grid(500)
    plain, scaled = (build("schedule", "label-accuracy", K10, scale=b) for b in (1.0, scale))
    m = signal_to_noise(plain.alpha_bar(t))
    torch.testing.assert_close(signal_to_noise(scaled.alpha_bar(t), scale), m, rtol=1e-3, atol=0)


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_identity_is_monotone_to_its_very_start(build, num_classes: int) -> None:
    t = torch.cat([torch.zeros(1), torch.logspace(-18, -2, 4000)]).double()
    alpha_bar = build("schedule", "label-accuracy", {"num_classes": num_classes}).alpha_bar(t)
    assert (alpha_bar.diff() <= 0).all()
    assert float(probability_arg_max(signal_to_noise(alpha_bar[0]), num_classes)) > 1 - 1e-5


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_scale_multiplies_the_signal_to_noise(build, name: str) -> None:
    t = torch.linspace(0.05, 0.95, 50)
    plain, scaled = (build("schedule", name, K10, scale=b) for b in (1.0, 3.0))
    m = signal_to_noise(plain.alpha_bar(t), plain.scale)
    torch.testing.assert_close(signal_to_noise(scaled.alpha_bar(t), scaled.scale), 3 * m)


@pytest.mark.parametrize("name", EVERY)
def test_scale_and_power_are_kept(build, name: str) -> None:
    plain, changed = (build("schedule", name, K10, **s) for s in ({}, {"scale": 2, "t_power": 0.5}))
    assert (plain.scale, plain.t_power) == (1.0, 1.0)
    assert (changed.scale, changed.t_power) == (2.0, 0.5)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("settings", [{"scale": 0}, {"t_power": -1}, {"sclae": 1}])
def test_settings_are_checked(build, name: str, settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        build("schedule", name, K10, **settings)
