from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch

from addkit.metrics import ClassificationScores, LabelMeter


def _scores(probabilities: list[list[float]], labels: list[int]) -> ClassificationScores:
    meter = LabelMeter(len(probabilities[0]))
    meter.update(torch.tensor(probabilities), torch.tensor(labels))
    return meter.compute()


def test_scores_by_hand() -> None:
    rows = [
        [0.7, 0.1, 0.1, 0.05, 0.03, 0.02],
        [0.2, 0.5, 0.1, 0.1, 0.06, 0.04],
        [0.1, 0.2, 0.3, 0.2, 0.15, 0.05],
        [0.25, 0.35, 0.2, 0.1, 0.06, 0.04],
    ]
    scores = _scores(rows, [0, 0, 5, 1])
    assert scores.top1 == 50
    # The third label is the least probable of six.
    assert scores.top5 == 75
    assert scores.count == 4
    # Of classes 0, 1 and 5 one half, one of one and none are right; 1 and 2 are answers too.
    assert scores.balanced == pytest.approx(100 * (1 / 2 + 1 + 0) / 3)
    assert scores.macro_f1 == pytest.approx(100 * (2 / 3 + 2 / 3 + 0) / 3)
    assert scores.nll == pytest.approx(
        -(math.log(0.7) + math.log(0.2) + math.log(0.05) + math.log(0.35)) / 4
    )
    squares = [sum(p * p for p in row) for row in rows]
    picked = [0.7, 0.2, 0.05, 0.35]
    assert scores.brier == pytest.approx(
        sum(square - 2 * p + 1 for square, p in zip(squares, picked, strict=True)) / 4
    )
    # Each row is alone in its bin: |0.7 - 1|, |0.5 - 0|, |0.3 - 0|, |0.35 - 1|, except that 0.3
    # and 0.35 lie in (4/15, 5/15] and (5/15, 6/15].
    assert scores.ece == pytest.approx(100 * (0.3 + 0.5 + 0.3 + 0.65) / 4, rel=1e-5)


def test_the_calibration_error_of_a_constructed_set() -> None:
    # 100 images at confidence 0.9 of which 80 are right, and 300 at 0.6 of which 180 are.
    high, low = [[0.9, 0.1]] * 100, [[0.4, 0.6]] * 300
    labels = [0] * 80 + [1] * 20 + [1] * 180 + [0] * 120
    scores = _scores(high + low, labels)
    assert scores.ece == pytest.approx(100 * (100 * 0.1 + 300 * 0.0) / 400, abs=1e-4)
    assert scores.top1 == pytest.approx(100 * 260 / 400)
    assert scores.top5 == 100
    brier = (80 * 2 * 0.01 + 20 * 2 * 0.81 + 180 * 2 * 0.16 + 120 * 2 * 0.36) / 400
    assert scores.brier == pytest.approx(brier, rel=1e-5)


def test_certainty_and_ignorance() -> None:
    classes = 7
    right = torch.eye(classes)[[0, 3, 6]].tolist()
    assert _scores(right, [0, 3, 6]) == ClassificationScores(
        top1=100, top5=100, balanced=100, macro_f1=100, nll=0, brier=0, ece=0, count=3
    )
    wrong = _scores(right, [1, 1, 1])
    assert (wrong.top1, wrong.brier, wrong.ece) == (0, 2, 100)
    assert wrong.nll == pytest.approx(-math.log(1e-12), rel=1e-4)
    even = _scores([[1 / classes] * classes] * 3, [1, 2, 3])
    assert even.nll == pytest.approx(math.log(classes))
    assert even.brier == pytest.approx(1 - 1 / classes)


def test_batches_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(1000, 9, generator=generator).softmax(-1)
    labels = torch.randint(9, (1000,), generator=generator)
    whole, parts = LabelMeter(9), LabelMeter(9)
    whole.update(probabilities, labels)
    for rows in torch.arange(1000).split(77):
        parts.update(probabilities[rows], labels[rows])
    one, other = whole.compute(), parts.compute()
    assert (one.top1, one.top5, one.count) == (other.top1, other.top5, other.count)
    for name in ("nll", "brier", "ece"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)
    right = probabilities.argmax(1) == labels
    assert torch.equal(parts.correct, right)
    assert one.top1 == pytest.approx(100 * float(right.float().mean()))
    assert one.nll == pytest.approx(
        float(torch.nn.functional.nll_loss(probabilities.log(), labels)), rel=1e-5
    )


def test_top5_is_of_the_five_most_probable() -> None:
    falling = torch.arange(7, 0, -1).float().div(28).tolist()
    scores = [_scores([falling], [label]).top5 for label in range(7)]
    assert scores == [100, 100, 100, 100, 100, 0, 0]


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_with_few_classes_top5_is_all_of_them(classes: int) -> None:
    rows = torch.eye(classes).add(0.1).div(1 + 0.1 * classes).tolist()
    assert _scores(rows, [classes - 1] * classes).top5 == 100


def test_rounding_above_1_changes_nothing() -> None:
    rows = torch.tensor([[0.9, 0.1], [0.6, 0.4]]).repeat(50, 1)
    scores = []
    for bump in (0.0, 1e-6):
        meter = LabelMeter(2)
        meter.update(torch.cat([rows, torch.tensor([[1.0 + bump, 0.0]])]), torch.zeros(101).long())
        scores.append(meter.compute())
    assert scores[1].ece == pytest.approx(scores[0].ece, rel=1e-4)
    assert scores[1].brier == pytest.approx(scores[0].brier, rel=1e-4)
    assert scores[1].nll >= 0


def test_half_precision_is_scored_in_full() -> None:
    meter = LabelMeter(3)
    meter.update(torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.bfloat16), torch.tensor([0]))
    assert meter.compute().nll == pytest.approx(math.log(2))


def test_merged_meters_are_the_meter_of_all_images() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(90, 7, generator=generator).softmax(-1)
    labels = torch.randint(7, (90,), generator=generator)
    whole, *parts = (LabelMeter(7) for _ in range(4))
    whole.update(probabilities, labels)
    # Parts of different sizes, in the order of the images.
    for part, rows in zip(parts, torch.arange(90).split([50, 10, 30]), strict=True):
        part.update(probabilities[rows], labels[rows])
    first, *others = parts
    for other in others:
        first.merge(other)
    assert asdict(first.compute()) == pytest.approx(asdict(whole.compute()), rel=1e-5)
    assert torch.equal(first.correct, whole.correct)
