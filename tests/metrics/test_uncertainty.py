from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from addkit.metrics import LabelMeter
from addkit.metrics.statistics import resamples
from addkit.metrics.uncertainty import (
    Bin,
    Confidence,
    credible_sets,
    fit_temperature,
    resampled,
    tempered,
)


def _drawn(n: int = 600, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, the probabilities they mean, and labels drawn from these."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=generator)
    labels = logits.softmax(1).multinomial(1, generator=generator).squeeze(1)
    return logits, logits.softmax(1), labels


def _votes(n: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Confidences with many ties, and what is right."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.randint(3, 11, (n,), generator=generator) / 10
    return share, torch.rand(n, generator=generator) < share


def _area_by_hand(confidence: Tensor, right: Tensor) -> float:
    """Mean over the sizes of the surest part of its error rate; no ties."""
    wrong = (~right[confidence.argsort(descending=True)]).double()
    return 100 * float((wrong.cumsum(0) / torch.arange(1, len(wrong) + 1)).mean())


def test_the_calibration_error_is_torchmetrics() -> None:
    _, probabilities, labels = _drawn()
    meter = LabelMeter(5)
    meter.update(probabilities, labels)
    measured = Confidence.of(probabilities, labels)
    assert float(measured.ece()) == pytest.approx(meter.compute().ece, rel=1e-5)


def test_the_calibration_error_of_votes_with_the_sure_ones_is_torchmetrics() -> None:
    share, right = _votes()
    meter = LabelMeter(2)
    # The larger of two probabilities is at least a half.
    sure = share[share >= 0.5]
    meter.update(torch.stack([sure, 1 - sure], dim=1), (~right[share >= 0.5]).long())
    measured = Confidence(sure, right[share >= 0.5])
    assert float(measured.ece()) == pytest.approx(meter.compute().ece, rel=1e-4)


def test_the_area_without_ties_by_hand() -> None:
    _, probabilities, labels = _drawn()
    measured = Confidence.of(probabilities, labels)
    assert float(measured.aurc()) == pytest.approx(
        _area_by_hand(measured.confidence, measured.right)
    )
    four = Confidence(torch.tensor([0.9, 0.7, 0.8, 0.6]), torch.tensor([True, False, False, True]))
    assert float(four.aurc()) == pytest.approx(100 * (0 + 1 / 2 + 2 / 3 + 2 / 4) / 4)


def test_the_area_with_ties_is_the_mean_over_their_orders() -> None:
    confidence = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.2])
    right = torch.tensor([True, True, False, False, True, False])
    areas = []
    for order in itertools.permutations(range(1, 5)):
        index = torch.tensor([0, *order, 5])
        areas.append(_area_by_hand(-torch.arange(6).double(), right[index]))
    assert float(Confidence(confidence, right).aurc()) == pytest.approx(sum(areas) / len(areas))


@pytest.mark.parametrize("score", ["ece", "aurc"])
def test_counting_is_as_good_as_drawing(score: str) -> None:
    share, right = _votes(50)
    measured = Confidence(share, right)
    counts = next(resamples(50, seed=1, draws=5))
    expected = []
    for count in counts:
        index = torch.arange(50).repeat_interleave(count)
        expected.append(float(getattr(Confidence(share[index], right[index]), score)()))
    assert getattr(measured, score)(counts).tolist() == pytest.approx(expected)


def test_all_alike_confidences_have_the_risk_of_everything() -> None:
    right = torch.arange(100) < 70
    measured = Confidence(torch.full((100,), 0.7), right)
    assert float(measured.ece()) == pytest.approx(0, abs=1e-4)
    assert float(measured.aurc()) == pytest.approx(30)
    assert [measured.risk(x) for x in (0.05, 0.5, 1.0)] == pytest.approx([30, 30, 30])


def test_risk_of_the_surest() -> None:
    confidence = torch.tensor([0.9, 0.8, 0.5, 0.5, 0.1])
    right = torch.tensor([True, False, True, False, False])
    measured = Confidence(confidence, right)
    assert measured.risk(0.2) == pytest.approx(0)
    assert measured.risk(0.4) == pytest.approx(50)
    # One of the two ties, half of them wrong.
    assert measured.risk(0.6) == pytest.approx(100 * 1.5 / 3)
    assert measured.risk(0.8) == pytest.approx(50)
    assert measured.risk(0.81) == pytest.approx(60)
    assert measured.risk(1.0) == pytest.approx(60)


def test_a_share_of_the_images_is_exact_where_its_product_is_rounded() -> None:
    # 0.07 * 100 is a little more than 7 in floating point.
    measured = Confidence(torch.linspace(1, 0, 100), torch.arange(100) != 7)
    assert measured.risk(0.07) == 0
    assert measured.risk(0.08) == pytest.approx(100 / 8)


def test_bins_add_up_to_the_calibration_error() -> None:
    share, right = _votes()
    measured = Confidence(share, right)
    bins = measured.reliability()
    assert (len(bins), sum(one.count for one in bins)) == (16, 400)
    assert bins[0] == Bin(0, None, None)
    assert bins[-1].confidence == 1
    gaps = [
        one.count * abs(one.confidence - one.accuracy)
        for one in bins
        if one.confidence is not None and one.accuracy is not None
    ]
    assert float(measured.ece()) == pytest.approx(100 * sum(gaps) / 400)


def test_a_bootstrap_is_paired_by_image() -> None:
    share, right = _votes(300)
    same = {"votes": Confidence(share, right), "again": Confidence(share, right)}
    measured = resampled(same, seed=0, draws=200)
    for one in measured.interval("votes", "again"):
        assert (one.mean, one.low, one.high, one.n) == (0, 0, 0, 300)
    ece, aurc = measured.interval("votes")
    assert ece.mean == pytest.approx(float(same["votes"].ece()))
    assert aurc.low < aurc.mean < aurc.high
    assert resampled(same, seed=0, draws=200).interval("votes") == (ece, aurc)


def test_a_worse_confidence_is_found_out() -> None:
    logits, probabilities, labels = _drawn(1500)
    sharp = (3 * logits).softmax(1)
    both = {"sharp": Confidence.of(sharp, labels), "own": Confidence.of(probabilities, labels)}
    ece, aurc = resampled(both, seed=0, draws=300).interval("sharp", "own")
    assert ece.low > 0
    assert aurc.low <= 0 <= aurc.high


def test_intervals_of_a_calibration_error_cover_the_truth() -> None:
    """Confidence 0.3 too high everywhere: the truth is 30 %, and noise pushes estimates up."""
    inside = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        sure = 0.5 + torch.rand(200, generator=generator) / 2
        right = torch.rand(200, generator=generator) < sure - 0.3
        ece, _ = resampled({"it": Confidence(sure, right)}, seed, draws=200).interval("it")
        inside += ece.low <= 30 <= ece.high
    assert inside >= 35


def test_other_images_cannot_be_paired() -> None:
    two = {"a": Confidence(*_votes(10)), "b": Confidence(*_votes(12))}
    with pytest.raises(ValueError, match=r"^confidences of \[10, 12\] images"):
        resampled(two, seed=0)


def test_credible_sets_by_hand() -> None:
    rows = torch.tensor(
        [
            [0.95, 0.03, 0.02],
            [0.50, 0.30, 0.20],
            [0.10, 0.05, 0.85],
            [0.60, 0.30, 0.10],
        ]
    )
    # {0}, all, {2, 0} and, since 0.6 + 0.3 is enough, {0, 1}.
    measured = credible_sets(rows, torch.tensor([0, 2, 1, 2]))
    assert measured.size == pytest.approx((1 + 3 + 2 + 2) / 4)
    assert measured.coverage == 50
    assert credible_sets(rows, torch.tensor([0, 0, 2, 0]), mass=0.5).size == 1


def test_credible_sets_of_votes_that_are_just_enough() -> None:
    rows = torch.tensor([[0.9, 0.1], [1.0, 0.0]])
    assert credible_sets(rows, torch.tensor([1, 0])).size == 1


def test_credible_sets_of_many_rows_have_at_least_their_mass() -> None:
    _, probabilities, labels = _drawn(9000, 6)
    measured = credible_sets(probabilities, labels)
    assert 90 <= measured.coverage <= 98
    assert 1 < measured.size < 6


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_temperature_is_found_again(temperature: float) -> None:
    logits, _, labels = _drawn(20000)
    # Logits that were divided by 1/T must be divided by T.
    measured = fit_temperature((logits * temperature).softmax(1), labels)
    assert measured == pytest.approx(temperature, rel=0.04)


def test_a_fitted_temperature_has_the_least_nll() -> None:
    logits, _, labels = _drawn()
    probabilities = (1.7 * logits).softmax(1)
    best = fit_temperature(probabilities, labels)

    def nll(t: float) -> float:
        return float(torch.nn.functional.nll_loss(tempered(probabilities, t).log(), labels))

    assert nll(best) <= min(nll(best * 1.02), nll(best / 1.02))


def test_temperatures_have_bounds() -> None:
    right, wrong = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.1, 0.9]])
    assert fit_temperature(right, torch.tensor([0])) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(wrong, torch.tensor([0])) == pytest.approx(20, rel=1e-3)


def test_no_images_have_no_temperature() -> None:
    with pytest.raises(ValueError, match=r"^no images to fit a temperature on$"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def test_tempering_is_a_softmax_of_divided_logits() -> None:
    logits, probabilities, _ = _drawn(20)
    torch.testing.assert_close(tempered(probabilities, 2.0), (logits / 2).softmax(1))
    torch.testing.assert_close(tempered(probabilities, 1.0), probabilities)
    each = torch.linspace(0.5, 3, 20)
    torch.testing.assert_close(tempered(probabilities, each), (logits / each[:, None]).softmax(1))
    certain = tempered(torch.tensor([[1.0, 0.0]]), 20.0)
    assert certain.isfinite().all()
    assert float(certain[0, 1]) == pytest.approx(math.exp(math.log(2**-126) / 20), rel=0.02)
