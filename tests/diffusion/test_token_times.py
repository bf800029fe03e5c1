"""Rows whose tokens have their own noise levels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from addkit.diffusion import TimeSettings, draw_times

from .networks import generator

BATCH, REUSE, TOKENS = 3000, 4, 5


def _times(shares: tuple[float, float, float], seed: int = 0, **settings) -> Tensor:
    asked = TimeSettings(token_times=shares, **settings)
    return draw_times((BATCH, REUSE, TOKENS), generator(seed), asked)


def _kinds(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which rows share one time, have times of their own, or are clean or at T, (B, R) bool."""
    ends = ((t == 0) | (t == 1)).all(-1)
    shared = (t == t[..., :1]).all(-1) & ~ends
    return shared, ~shared & ~ends, ends


def _close_to(share: float, rows: Tensor) -> bool:
    error = math.sqrt(share * (1 - share) / rows.numel())
    return abs(float(rows.double().mean()) - share) < 4 * error


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.2, 0.5, 0.3), (2.0, 1.0, 1.0)])
def test_each_kind_of_row_has_its_share(shares: tuple[float, float, float]) -> None:
    kinds = _kinds(_times(shares))
    assert torch.stack(kinds).sum(0).eq(1).all()
    for rows, share in zip(kinds, shares, strict=True):
        assert _close_to(share / sum(shares), rows)


def test_kinds_are_drawn_for_each_row_by_itself() -> None:
    shared = _kinds(_times((0.5, 0.5, 0.0)))[0].double()
    correlation = shared.T.corrcoef() - torch.eye(REUSE, dtype=torch.float64)
    assert correlation.abs().max() < 4 / math.sqrt(BATCH)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_own_times_are_independent_and_uniform_before_the_power(ks, power: float) -> None:
    u = _times((0.0, 1.0, 0.0), power=power).flatten(0, 1) ** (1 / power)
    assert _kinds(u.unsqueeze(0))[1].all()
    correlation = u.T.corrcoef() - torch.eye(TOKENS)
    assert correlation.abs().max() < 4 / math.sqrt(len(u))
    even = (torch.arange(len(u)) + 0.5) / len(u)
    assert max(ks(token, even) for token in u.T) < 1


def test_clean_or_noise_rows_hide_from_none_to_all() -> None:
    """Of N tokens k are hidden with chance 1 / (N + 1) each k: the share itself is uniform."""
    t = _times((0.0, 0.0, 1.0))
    assert ((t == 0) | (t == 1)).all()
    hidden = t.sum(-1).flatten()
    for count in range(TOKENS + 1):
        assert _close_to(1 / (TOKENS + 1), hidden == count)
    assert _close_to(0.5, t[..., 0] == 1)


def test_shared_rows_stay_in_strata_among_the_others() -> None:
    t = _times((0.5, 0.25, 0.25))
    both = _kinds(t)[0][:, 0] & _kinds(t)[0][:, 2]
    gap = (t[both, 2, 0] - t[both, 0, 0]).abs()
    torch.testing.assert_close(gap, torch.full_like(gap, 0.5))


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_pure_noise_rows_are_taken_from_every_kind(shares: tuple[float, float, float]) -> None:
    t = _times(shares, pure_noise=0.5)
    at_noise = (t == 1).all(-1)
    if shares[2]:
        assert (at_noise.sum(1) >= 2).all()
        return
    assert (at_noise.sum(1) == 2).all()
    assert (t[~at_noise] < 1).all()


def test_one_token_has_no_times_of_its_own() -> None:
    asked = TimeSettings(token_times=(0.0, 0.0, 1.0))
    t = draw_times((200, 2, 1), generator(), asked)
    assert torch.equal(t, draw_times((200, 2, 1), generator(), TimeSettings()))
    assert ((t > 0) & (t < 1)).all()
