from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion import TimeSettings, draw_times, time_grid


def _times(batch: int, reuse: int, seed: int = 0, num_tokens: int = 1, **settings) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return draw_times((batch, reuse, num_tokens), generator, TimeSettings(**settings))


def _distance_from_uniform(values: Tensor) -> float:
    """The one-sample Kolmogorov-Smirnov statistic over its 0.1 % critical value."""
    ranks = torch.arange(len(values) + 1) / len(values)
    ordered = values.sort().values
    distance = torch.maximum(ordered - ranks[:-1], ranks[1:] - ordered).max()
    return float(distance) / (1.95 / math.sqrt(len(values)))


@pytest.mark.parametrize("reuse", [1, 2, 4, 7])
@pytest.mark.parametrize("power", [1.0, 0.5, 2.0])
def test_strata_are_distinct_and_evenly_spaced_before_the_power(reuse: int, power: float) -> None:
    u = _times(200, reuse, power=power).squeeze(-1).double() ** (1 / power)
    gaps = u.sort(1).values.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / reuse), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_each_copy_alone_is_uniform_before_the_power(stratified: bool, power: float) -> None:
    u = _times(20000, 4, stratified=stratified, power=power).squeeze(-1) ** (1 / power)
    assert max(_distance_from_uniform(copy) for copy in u.T) < 1


def test_times_of_different_images_and_of_unstratified_copies_are_independent() -> None:
    stratified, plain = _times(20000, 4).squeeze(-1), _times(20000, 4, stratified=False).squeeze(-1)
    bound = 4 / math.sqrt(20000)
    assert abs(float(torch.stack([stratified[:-1, 0], stratified[1:, 0]]).corrcoef()[0, 1])) < bound
    assert (plain.T.corrcoef() - torch.eye(4)).abs().max() < bound


def test_all_tokens_of_a_row_share_their_time() -> None:
    t = _times(5, 3, num_tokens=6, pure_noise=0.4)
    assert t.shape == (5, 3, 6)
    assert torch.equal(t, t[..., :1].expand_as(t))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("reuse", [1, 4, 5])
@pytest.mark.parametrize("stratified", [True, False])
def test_pure_noise_has_its_share_in_each_image_and_in_total(
    share: float, reuse: int, stratified: bool
) -> None:
    batch = 10000
    at_noise = _times(batch, reuse, pure_noise=share, stratified=stratified).squeeze(-1) == 1
    counts = at_noise.sum(1)
    assert counts.min() >= math.floor(share * reuse)
    assert counts.max() <= math.ceil(share * reuse)
    fraction = share * reuse % 1
    error = math.sqrt(fraction * (1 - fraction) / batch) / reuse
    assert abs(float(at_noise.double().mean()) - share) <= 4 * error
    each = math.sqrt(share * (1 - share) / batch)
    assert (at_noise.double().mean(0) - share).abs().max() < 4 * each


def test_rows_side_inputs_pure_noise_stay_uniform() -> None:
    t = _times(20000, 4, pure_noise=0.3).flatten()
    assert _distance_from_uniform(t[t < 1]) < 1


def test_the_whole_or_none_can_be_pure_noise() -> None:
    assert (_times(50, 4, pure_noise=1.0) == 1).all()
    assert (_times(50, 4, pure_noise=0.0) < 1).all()


def test_times_are_decided_by_the_generator() -> None:
    assert torch.equal(_times(9, 4, seed=3), _times(9, 4, seed=3))
    assert not torch.equal(_times(9, 4, seed=3), _times(9, 4, seed=4))


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
def test_the_grid_falls_evenly_from_one_to_zero(steps: int) -> None:
    grid = time_grid(steps)
    expected = torch.tensor([(steps - i) / steps for i in range(steps + 1)], dtype=torch.double)
    torch.testing.assert_close(grid, expected, atol=1e-12, rtol=0)
    assert (grid[0], grid[-1]) == (1, 0)


def test_a_warp_maps_uniform_numbers_in_place_of_the_power() -> None:
    plain = _times(50, 4, power=1.0)
    torch.testing.assert_close(_times(50, 4, power=3.0, warp=lambda u: u / 2), plain / 2)
