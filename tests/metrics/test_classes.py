from __future__ import annotations

import math

import pytest
import torch

from addkit.metrics.classes import ClassCounts


def test_scores_by_hand_of_uneven_classes() -> None:
    # Class 2 is never an answer, class 3 has no image and is one answer, class 4 is nowhere.
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    answers = torch.tensor([0, 0, 0, 0, 0, 1, 1, 3, 0, 1])
    counts = ClassCounts.of(answers, labels, 5)
    assert counts.right.tolist() == [5, 1, 0, 0, 0]
    assert counts.balanced_accuracy == pytest.approx((5 / 6 + 1 / 2 + 0) / 3)
    # Precision 5/6 and recall 5/6; precision 1/3 and recall 1/2; none right.
    assert counts.macro_f1 == pytest.approx((5 / 6 + 2 * (1 / 6) / (5 / 6) + 0) / 3)
    assert counts.never_predicted == [2]


def test_scores_of_no_image_are_no_number() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    counts = ClassCounts.of(nothing, nothing, 3)
    assert math.isnan(counts.balanced_accuracy)
    assert math.isnan(counts.macro_f1)
    assert counts.never_predicted == []


@pytest.mark.parametrize("classes", [2, 7])
def test_scores_are_torchmetrics_where_every_class_has_images(classes: int) -> None:
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    generator = torch.Generator().manual_seed(classes)
    labels = torch.cat([torch.arange(classes), torch.zeros(50, dtype=torch.long)])
    answers = torch.randint(classes, labels.shape, generator=generator)
    counts = ClassCounts.of(answers, labels, classes)
    macro = multiclass_accuracy(answers, labels, classes, average="macro")
    assert counts.balanced_accuracy == pytest.approx(float(macro))
    f1 = multiclass_f1_score(answers, labels, classes, average="macro")
    assert counts.macro_f1 == pytest.approx(float(f1))
