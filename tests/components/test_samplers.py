"""The share of noise that a step carries over; the step itself: diffusion/test_chain_steps.py."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from addkit.samplers.renoise import Ancestral, Ddim, Kappa
from addkit.samplers.settings import DdimConfig

M_T = torch.logspace(-4, 1.5, 40, dtype=torch.double)


def _steps() -> tuple[torch.Tensor, torch.Tensor]:
    """All steps from m_t up to m_s >= m_t."""
    m_t, m_s = torch.meshgrid(M_T, M_T, indexing="ij")
    rising = m_s >= m_t
    return m_t[rising], m_s[rising]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("renoise", {"kappa": 0.5}),
        ("renoise", {"kappa": 1}),
        ("ancestral", {}),
        ("ddim", {}),
        ("ddim", {"eta": 0.3}),
        ("ddim", {"eta": 1}),
    ],
)
def test_the_share_lies_between_nothing_and_all(build, name: str, settings) -> None:
    carry = build("sampler", name, **settings).carry(*_steps())
    assert ((carry >= 0) & (carry <= 1)).all()
    from_noise = build("sampler", name, **settings).carry(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert from_noise.isfinite().all()
    assert ((from_noise >= 0) & (from_noise <= 1)).all()


def test_ancestral_carries_the_ratio_of_the_levels(build) -> None:
    m_t, m_s = _steps()
    torch.testing.assert_close(build("sampler", "ancestral").carry(m_t, m_s), m_t / m_s)


def test_renoise_runs_from_forgetting_to_ancestral(build) -> None:
    m_t, m_s = _steps()
    ancestral = build("sampler", "ancestral").carry(m_t, m_s)
    for kappa in (0.3, 1.0):
        carry = build("sampler", "renoise", kappa=kappa).carry(m_t, m_s)
        torch.testing.assert_close(carry, kappa * ancestral)


def test_ddim_runs_from_keeping_all_to_ancestral(build) -> None:
    m_t, m_s = _steps()
    assert (build("sampler", "ddim").carry(m_t, m_s) == 1).all()
    whole = build("sampler", "ddim", eta=1).carry(m_t, m_s)
    torch.testing.assert_close(whole, build("sampler", "ancestral").carry(m_t, m_s))


@pytest.mark.parametrize("eta", [0.2, 0.7, 1.0])
def test_ddim_has_the_papers_sigma(build, eta: float) -> None:
    """Song et al. 2021, equation 16: the fresh noise of a step from abar_t to abar_s."""
    a_t, a_s = 0.3, 0.8
    m_t, m_s = (torch.tensor(math.sqrt(a / (1 - a))).double() for a in (a_t, a_s))
    carry = float(build("sampler", "ddim", eta=eta).carry(m_t, m_s))
    sigma = eta * math.sqrt((1 - a_s) / (1 - a_t)) * math.sqrt(1 - a_t / a_s)
    assert (1 - a_s) * (1 - carry**2) == pytest.approx(sigma**2)


@pytest.mark.parametrize(
    ("name", "settings", "keeps"),
    [
        ("renoise", {}, False),
        ("renoise", {"kappa": 0.1}, True),
        ("ancestral", {}, True),
        ("ddim", {}, True),
        ("gibbs", {}, False),
        ("refine", {}, False),
    ],
)
def test_y_t_is_kept_where_noise_is_carried(build, name: str, settings, keeps: bool) -> None:
    assert build("sampler", name, **settings).keeps_y_t == keeps


def test_samplers_can_be_built_by_hand() -> None:
    assert (Ddim(eta=0.3).eta, Kappa(0.5).kappa, Ancestral().kappa) == (0.3, 0.5, 1.0)


@pytest.mark.parametrize(("name", "key"), [("renoise", "kappa"), ("ddim", "eta")])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_shares_beyond_the_ends_are_refused(build, name: str, key: str, value: float) -> None:
    with pytest.raises(ValidationError):
        build("sampler", name, **{key: value})


def test_plain_ddim_is_deterministic() -> None:
    assert Ddim().eta == DdimConfig().eta == 0
