"""Time warping: the map is the inverse of the loss, whatever the times that it was learnt from."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from addkit.diffusion import TimeSettings, draw_times
from addkit.timesteps.settings import WarpedConfig
from addkit.timesteps.warped import WarpedTimes, isotonic

K = 10
PROFILES: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda t: 0.3 + 2 * t**2,
    "early": lambda t: (2 * t).tanh(),
    "step": lambda t: ((t - 0.7) * 20).sigmoid(),
    "even": lambda t: 1 + t,
}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _times(t_power: float = 1.0, **settings: float) -> WarpedTimes:
    return WarpedTimes(WarpedConfig.model_validate(settings), K, t_power)


def _learn(
    times: WarpedTimes, loss: Callable[[Tensor], Tensor], power: float | None = None
) -> None:
    """Fifty steps at times of its own, or at u ** power."""
    for step in range(50):
        u = torch.rand(2000, generator=_generator(step))
        t = times(u) if power is None else u**power
        times.learn(t, loss(t), torch.ones_like(t))


def _grid() -> Tensor:
    return torch.linspace(0, 1, 1001)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_loss_rises_evenly_in_u(profile: str) -> None:
    loss = PROFILES[profile]
    times = _times(half_life=5, floor=1e-3)
    _learn(times, loss)
    first, last = loss(torch.tensor([0.0, 1.0]))
    reached = (loss(times(_grid())) - first) / (last - first)
    torch.testing.assert_close(reached, _grid(), atol=0.02, rtol=0)


@pytest.mark.parametrize("profile", ["square", "step"])
def test_the_map_does_not_depend_on_the_times_it_was_learnt_from(profile: str) -> None:
    maps = []
    for power in (0.5, 1.0, 2.0):
        times = _times(half_life=5, bins=50)
        _learn(times, PROFILES[profile], power)
        maps.append(times(_grid()))
    torch.testing.assert_close(maps[1], maps[0], atol=0.02, rtol=0)
    torch.testing.assert_close(maps[1], maps[2], atol=0.02, rtol=0)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_it_starts_as_the_power(power: float) -> None:
    times = _times(power, floor=1e-6, bins=400)
    torch.testing.assert_close(times(_grid()), _grid() ** power, atol=3e-3, rtol=0)


@pytest.mark.parametrize("kind", ["unlearnt", "noise", "falling", "flat", "square", "unseen"])
def test_the_map_rises_from_0_to_1(kind: str) -> None:
    times = _times(half_life=2)
    losses = {
        "noise": lambda t: torch.rand(len(t), generator=_generator(9)),
        "falling": lambda t: 1 - t,
        "flat": torch.ones_like,
        "square": torch.square,
    }
    if kind in losses:
        _learn(times, losses[kind])
    for _ in range(500 if kind == "unseen" else 0):
        times.learn(torch.ones(1), torch.ones(1), torch.zeros(1))
    t = times(_grid())
    assert (float(t[0]), float(t[-1])) == (0.0, 1.0)
    assert (t.diff() > 0).all()
    # All its knots are known: it is straight in between, and F inverts it there.
    torch.testing.assert_close(times(times.levels().float()), times.knots, atol=1e-5, rtol=0)


def test_flat_and_falling_losses_leave_t_even() -> None:
    for loss in (torch.ones_like, lambda t: 1 - t):
        times = _times(half_life=1, bins=10)
        _learn(times, loss)
        torch.testing.assert_close(times(_grid()), _grid(), atol=5e-3, rtol=0)


@pytest.mark.parametrize("floor", [0.01, 0.3])
def test_no_time_is_left_out(floor: float) -> None:
    times = _times(floor=floor, half_life=1)
    _learn(times, lambda t: (t > 0.5).float(), power=1.0)
    levels = times.levels()
    assert float(levels[-1]) == 1
    shares = levels.diff() * (len(times.knots) - 1)
    assert float(shares.min()) == pytest.approx(floor, rel=0.01)


def test_a_step_by_hand() -> None:
    """Two pieces: a token at t = 0.25 counts half for knot 0 and half for knot 1."""
    times = _times(bins=2, half_life=1)
    torch.testing.assert_close(times.loss, math.log(K) * torch.tensor([0, 0.5, 1]))
    t, losses = torch.tensor([0.25, 1.0, 1.0]), torch.tensor([4.0, 1.0, 3.0])
    times.learn(t, losses, torch.tensor([1.0, 1.0, 2.0]))
    # Half of the weight 1 that each began with is kept, and at least 1 is.
    torch.testing.assert_close(times.weight, torch.tensor([1.0, 1.0, 3.5]))
    start = math.log(K)
    last = (0.5 * start + 1 + 2 * 3) / 3.5
    torch.testing.assert_close(times.loss, torch.tensor([2.0, 0.25 * start + 2, last]))


def test_old_losses_count_half_after_the_half_life() -> None:
    times = _times(bins=2, half_life=7)
    times.learn(torch.ones(1000), torch.full((1000,), 5.0), torch.ones(1000))
    for _ in range(6):
        times.learn(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    assert float(times.loss[-1]) == pytest.approx(5, abs=0.01)
    times.learn(torch.ones(1000), torch.full((1000,), 2.0), torch.ones(1000))
    assert float(times.loss[-1]) == pytest.approx((0.5 * 5 + 2) / 1.5, abs=0.01)


def test_tokens_without_weight_teach_nothing() -> None:
    times, other = _times(), _times()
    t, losses = torch.rand(2, 100, generator=_generator())
    weights = (torch.arange(100) % 2).float()
    times.learn(t, losses, weights)
    other.learn(t[1::2], losses[1::2], torch.ones(50))
    torch.testing.assert_close(times.state_dict(), other.state_dict())
    half = _times()
    half.learn(t, losses + 7 * (1 - weights), weights)
    torch.testing.assert_close(times.state_dict(), half.state_dict())


def _pooled(values: list[float], weights: list[float]) -> list[float]:
    """Isotonic regression by pooling neighbours that fall."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (v, w, n), (x, y, m) = blocks.pop(-2), blocks.pop(-1)
            blocks.append(((v * w + x * y) / (w + y), w + y, n + m))
    return [value for value, _, count in blocks for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("slope", [-1.0, 0.0, 2.0])
def test_isotonic_regression_is_that_of_pooled_neighbours(seed: int, slope: float) -> None:
    noise, weights = torch.rand(2, 40, generator=_generator(seed), dtype=torch.float64)
    values = slope * torch.linspace(0, 1, 40) + noise
    weights = weights * 100 + 0.01
    found = isotonic(values, weights)
    expected = torch.tensor(_pooled(values.tolist(), weights.tolist()), dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    assert (found.diff() >= 0).all()


def test_what_rises_is_kept() -> None:
    values = torch.tensor([0.0, 1, 1, 4], dtype=torch.float64)
    torch.testing.assert_close(isotonic(values, torch.ones(4, dtype=torch.float64)), values)


def test_shape_and_type_are_kept() -> None:
    times = _times()
    _learn(times, torch.square)
    u = torch.rand(3, 1, 4, generator=_generator()).transpose(0, 2)
    assert times(u).shape == u.shape
    assert times(u).dtype == torch.float32
    single = torch.stack([times(one) for one in u.flatten()]).view(u.shape)
    torch.testing.assert_close(times(u), single)


@pytest.mark.parametrize("stratified", [True, False])
def test_strata_and_pure_noise_act_on_u(stratified: bool) -> None:
    """The same draws, then the map; rows at t = T stay there, and clean tokens clean."""
    times = _times()
    _learn(times, torch.square)
    asked = {"stratified": stratified, "pure_noise": 0.25, "token_times": (1.0, 1.0, 1.0)}
    shape = (200, 4, 3)
    plain = draw_times(shape, _generator(), TimeSettings(**asked))
    warped = draw_times(shape, _generator(), TimeSettings(**asked, power=3.0, warp=times))
    torch.testing.assert_close(warped, times(plain))
    assert ((warped == 1) == (plain == 1)).all()
    assert ((warped == 0) == (plain == 0)).all()


def test_what_was_learnt_is_data() -> None:
    """Buffers alone: a file that is loaded as weights only brings the map back to the bit."""
    times, file = _times(), io.BytesIO()
    _learn(times, torch.square)
    assert not list(times.parameters())
    torch.save(times.state_dict(), file)
    file.seek(0)
    again = _times()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert set(again.state_dict()) == {"loss", "weight"}
    assert torch.equal(again(_grid()), times(_grid()))
    for one in (times, again):
        _learn(one, torch.sqrt)
    assert torch.equal(again(_grid()), times(_grid()))


def test_a_knot_of_many_tokens_outweighs_its_neighbour_in_the_fit() -> None:
    times = _times(bins=3, floor=1e-6)
    times.loss.copy_(torch.tensor([0.0, 2.0, 1.0, 3.0]))
    times.weight.copy_(torch.tensor([1.0, 3.0, 1.0, 1.0]))
    # 2 and 1 fall: both become (3 * 2 + 1) / 4.
    share = 1.75 / 3
    wanted = torch.tensor([0.0, share, share, 1.0], dtype=torch.double)
    torch.testing.assert_close(times.levels(), wanted, atol=1e-5, rtol=0)


def test_a_knot_never_weighs_less_than_a_token() -> None:
    times = _times(bins=2, half_life=1)
    for _ in range(20):
        times.learn(torch.ones(1), torch.ones(1), torch.zeros(1))
    assert times.weight.tolist() == [1.0, 1.0, 1.0]
