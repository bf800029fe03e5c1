from __future__ import annotations

import pytest
import torch
from torch import Tensor

from addkit.diffusion import Answer
from addkit.metrics.joint import JointMeter
from addkit.plugin.values import MISSING, Batch

ALLOWED = ((0, 2), (1, 3), (1, 2))


def _answer(labels: list[list[int]], truth: list[float] | None = None) -> Answer:
    ids: Tensor = torch.tensor(labels)
    nothing = torch.zeros(*ids.shape, 4)
    return Answer(
        labels=ids,
        probabilities=nothing,
        votes=nothing,
        steps=torch.ones(len(ids)),
        candidates=ids.unsqueeze(1),
        confidence=torch.ones(ids.shape).unsqueeze(1),
        scores=torch.zeros(len(ids), 1),
        truth_log_p=None if truth is None else torch.tensor(truth),
    )


def _batch(labels: list[list[int]]) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 2, 2), torch.tensor(labels), tuple(range(len(labels))))


def test_scores_by_hand() -> None:
    """Right, right where known, half right, wrong, all unknown; three of five are allowed."""
    meter = JointMeter(ALLOWED)
    meter.update(_answer([[0, 2], [1, 3]]), _batch([[0, 2], [1, MISSING]]))
    meter.update(_answer([[0, 3], [2, 2]]), _batch([[0, 2], [0, 3]]))
    meter.update(_answer([[1, 2]]), _batch([[MISSING, MISSING]]))
    scores = meter.compute()
    assert scores.exact_match == pytest.approx(2 / 4)
    assert scores.token_accuracy == pytest.approx(4 / 7)
    # Values 0 and 1 of the first label: 2 of 3 right, 1 of 1; of the second 1 of 2, 0 of 1.
    assert scores.token_balanced == pytest.approx(((2 / 3 + 1) / 2 + (1 / 2 + 0) / 2) / 2)
    assert scores.consistency == pytest.approx(3 / 5)
    assert scores.count == 5
    assert meter.correct.tolist() == [True, True, False, False, True]


def test_batches_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(3, (30, 2), generator=generator).tolist()
    labels = torch.randint(-1, 3, (30, 2), generator=generator).tolist()
    whole, parts = JointMeter(ALLOWED), JointMeter(ALLOWED)
    whole.update(_answer(given), _batch(labels))
    for start in range(0, 30, 7):
        rows = slice(start, start + 7)
        parts.update(_answer(given[rows]), _batch(labels[rows]))
    assert parts.compute() == whole.compute()


def test_consistency_is_of_answers_right_or_wrong() -> None:
    meter = JointMeter(ALLOWED)
    meter.update(_answer([[1, 3], [1, 2], [0, 3]]), _batch([[0, 2], [0, 2], [0, 2]]))
    scores = meter.compute()
    assert (scores.consistency, scores.exact_match) == (pytest.approx(2 / 3), 0)


def test_without_a_list_nothing_is_said_of_consistency() -> None:
    meter = JointMeter(())
    meter.update(_answer([[1, 3]]), _batch([[1, 3]]))
    assert meter.compute().consistency is None
    assert meter.examples(3) == []


def test_the_likelihood_is_of_images_whose_labels_are_all_known() -> None:
    meter = JointMeter(ALLOWED)
    meter.update(_answer([[0, 2], [1, 3]], [-1.0, float("nan")]), _batch([[0, 2], [1, MISSING]]))
    meter.update(_answer([[0, 2]], [-3.0]), _batch([[0, 2]]))
    assert meter.compute().nll == pytest.approx(2.0)
    unknown = JointMeter(ALLOWED)
    unknown.update(_answer([[0, 2]]), _batch([[0, 2]]))
    assert unknown.compute().nll is None


def test_merged_meters_are_the_meter_of_all_images() -> None:
    given, labels = [[0, 2], [1, 3], [1, 2], [0, 3]], [[0, 2], [1, MISSING], [0, 2], [1, 3]]
    truth = [-1.0, float("nan"), -3.0, -0.5]
    whole, first, second = (JointMeter(ALLOWED) for _ in range(3))
    whole.update(_answer(given, truth), _batch(labels))
    first.update(_answer(given[:1], truth[:1]), _batch(labels[:1]))
    second.update(_answer(given[1:], truth[1:]), _batch(labels[1:]))
    first.merge(second)
    assert first.compute() == whole.compute()
    assert torch.equal(first.correct, whole.correct)


def test_values_that_no_answer_has_are_named() -> None:
    meter = JointMeter(ALLOWED, ("shape", "hue"), ("round", "flat", "red", "blue"))
    meter.update(_answer([[0, 2], [0, 3]]), _batch([[0, 2], [1, MISSING]]))
    assert meter.never_predicted == ("shape: flat",)
