from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from addkit.diffusion import alpha_bar_at, probability_arg_max
from addkit.diffusion.information import (
    informative_range,
    informative_share,
    log_snr,
    mutual_information,
    profile,
)
from addkit.plugin.spec import Problem
from addkit.schedules.suggest import scarce_information, suggest

LEVELS = torch.tensor([0.3, 1.0, 2.0, 3.5, 5.0])


@dataclass(frozen=True)
class Falling:
    """m falls evenly from 8 at t = 0 to 0 at t = 1."""

    scale: float = 1.0
    t_power: float = 1.0

    def alpha_bar(self, t: Tensor) -> Tensor:
        return alpha_bar_at(8 * (1 - t.double()), self.scale)


@dataclass(frozen=True)
class Constant:
    """Nearly no signal, ever."""

    scale: float = 1.0
    t_power: float = 1.0

    def alpha_bar(self, t: Tensor) -> Tensor:
        return torch.full_like(t, 1e-4)


def _drawn(num_classes: int, rows: int) -> tuple[Tensor, Tensor]:
    """Whether the arg max is right, and the bits that the true label gains; (levels, rows)."""
    generator = torch.Generator().manual_seed(num_classes)
    right, bits = [], []
    for _ in range(0, rows, 500):
        z = torch.randn(500, num_classes, generator=generator)
        # One noise serves all levels: each is tested by itself.
        for m in LEVELS.tolist():
            others = (m * z[:, 1:]).logsumexp(1)
            total = torch.logaddexp(others, m * m + m * z[:, 0])
            bits.append((m * m + m * z[:, 0] - total + math.log(num_classes)) / math.log(2))
            right.append(z[:, 0] + m > z[:, 1:].amax(1))
    shape = (-1, len(LEVELS), 500)
    told = [torch.stack(x).view(shape).transpose(0, 1).flatten(1).double() for x in (right, bits)]
    return told[0], told[1]


@pytest.mark.parametrize(("num_classes", "rows"), [(10, 100000), (1000, 20000), (10112, 4000)])
def test_both_agree_with_monte_carlo_within_three_standard_errors(
    num_classes: int, rows: int
) -> None:
    right, bits = _drawn(num_classes, rows)
    assert right.shape == bits.shape == (len(LEVELS), rows)
    p = probability_arg_max(LEVELS, num_classes)
    error = (p * (1 - p) / rows).sqrt()
    assert ((right.mean(1) - p).abs() < 3 * error).all()
    error = bits.std(1) / math.sqrt(rows)
    assert ((bits.mean(1) - mutual_information(LEVELS, num_classes)).abs() < 3 * error).all()


def test_two_classes_are_a_binary_channel() -> None:
    """1 - E log2(1 + exp(-(m^2 + m sqrt(2) z))): one normal instead of two."""
    z = torch.linspace(-12, 12, 20001, dtype=torch.double)
    density = (-0.5 * z.square()).exp() / math.sqrt(2 * math.pi)
    m = torch.tensor([0.01, 0.3, 1.0, 2.5, 6.0], dtype=torch.double)
    lost = torch.nn.functional.softplus(-(m.square() + m * math.sqrt(2) * z.unsqueeze(1)))
    expected = 1 - torch.trapezoid(density.unsqueeze(1) * lost, z, dim=0) / math.log(2)
    torch.testing.assert_close(mutual_information(m, 2), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("num_classes", [2, 10, 1000, 50257])
def test_information_goes_from_nothing_to_all_the_bits(num_classes: int) -> None:
    m = torch.cat([torch.zeros(1), torch.linspace(0.05, 12, 50), torch.tensor([1000.0])])
    bits = mutual_information(m.view(4, 13), num_classes)
    assert bits.shape == (4, 13) and bits.dtype == torch.float64
    bits = bits.flatten()
    assert float(bits[0]) == pytest.approx(0, abs=1e-9)
    assert float(bits[-1]) == pytest.approx(math.log2(num_classes), abs=1e-7)
    assert (bits.diff() > -1e-9).all()


@pytest.mark.parametrize("num_classes", [2, 10, 10112])
def test_the_first_bits_are_those_of_a_weak_signal(num_classes: int) -> None:
    """I-MMSE at m = 0: the slope in m^2 is half the label's variance, (1 - 1/K) / 2 nats."""
    m = 1e-3
    expected = 0.5 * m**2 * (1 - 1 / num_classes) / math.log(2)
    assert float(mutual_information(torch.tensor(m), num_classes)) == pytest.approx(
        expected, rel=1e-3
    )


def test_log_snr() -> None:
    told = log_snr(torch.tensor([0.0, 1.0, math.e]))
    assert told.tolist() == pytest.approx([-math.inf, 0.0, 2.0])


@pytest.mark.parametrize("num_classes", [10, 1000])
def test_the_informative_range_holds_5_to_95_percent_of_the_bits(num_classes: int) -> None:
    shares = mutual_information(torch.tensor(informative_range(num_classes)), num_classes)
    assert (shares / math.log2(num_classes)).tolist() == pytest.approx([0.05, 0.95], abs=1e-4)


def test_at_ten_classes_it_is_the_zone_where_chains_flip() -> None:
    low, high = informative_range(10)
    assert low == pytest.approx(0.5, abs=0.05)
    assert high == pytest.approx(3.6, abs=0.1)


def test_the_share_is_the_range_of_an_even_schedule() -> None:
    low, high = informative_range(10)
    assert informative_share(Falling(), 10) == pytest.approx((high - low) / 8, abs=1e-3)
    # b moves alpha_bar and not m, which this schedule fixes.
    assert informative_share(Falling(scale=3.0), 10) == informative_share(Falling(), 10)


def test_the_share_is_of_the_times_that_training_draws() -> None:
    """t = u ** p: of t between two values, u lies between their p-th roots."""
    low, high = informative_range(10)
    expected = (1 - low / 8) ** 2 - (1 - high / 8) ** 2
    assert informative_share(Falling(t_power=0.5), 10) == pytest.approx(expected, abs=1e-3)


def test_a_profile_holds_everything_at_each_time() -> None:
    times = torch.tensor([0.0, 0.5, 1.0])
    told = profile(Falling(scale=2.0), 10, times)
    m = torch.tensor([8.0, 4.0, 0.0], dtype=torch.double)
    torch.testing.assert_close(told.alpha_bar, m**2 / (4 + m**2))
    torch.testing.assert_close(told.log_snr, 2 * m.log())
    torch.testing.assert_close(told.probability, probability_arg_max(m, 10))
    torch.testing.assert_close(told.bits, mutual_information(m, 10))
    assert told.share == informative_share(Falling(), 10)


def test_suggests_the_schedule_that_knows_the_classes() -> None:
    found = suggest(10, (1.0, 4.0))
    assert [one.schedule for one in found] == ["label-accuracy", "sigmoid", "cosine", "linear"]
    assert found[0].scale == 1.0
    assert found[-1].scale == 4.0
    assert found[0].share > 0.8 > 0.6 > found[1].share
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)


def test_warns_of_few_informative_times() -> None:
    assert scarce_information(Falling(), Problem(num_classes=10)) is None
    warning = scarce_information(Constant(), Problem(num_classes=1000))
    assert warning is not None
    assert "only 0 %" in warning
    assert "--classes 1000 --suggest" in warning


def test_of_joint_labels_the_classes_of_each_token_count() -> None:
    problem = Problem(num_classes=13, num_tokens=3, token_classes=((0, 10), (10, 12), (12, 13)))
    told = scarce_information(Constant(), problem)
    assert told is not None and "2 classes" in told
    alone = Problem(num_classes=1, token_classes=((0, 1),))
    assert scarce_information(Constant(), alone) is None
