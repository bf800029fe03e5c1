from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_f1_score, multilabel_f1_score

from addkit.metrics.tags import TagMeter
from addkit.plugin.values import Answer, Batch

NAMES = ("dog", "grass", "ball", "rare")


def _update(meter: TagMeter, p: Tensor, labels: Tensor, truth: Tensor | None = None) -> None:
    predicted = (p > 0.5).long()
    count = len(p)
    answer = Answer(
        labels=predicted,
        probabilities=torch.stack([1 - p, p], -1),
        votes=torch.stack([1 - p, p], -1),
        steps=torch.ones(count, dtype=torch.long),
        candidates=predicted[:, None],
        confidence=torch.ones(count, 1, len(NAMES)),
        scores=torch.zeros(count, 1),
        truth_log_p=truth,
    )
    meter.update(answer, Batch(torch.zeros(count, 1, 1, 1), labels, tuple(range(count))))


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(60, 4, generator=generator)
    labels = (torch.rand(60, 4, generator=generator) < 0.2 + 0.6 * p).long()
    labels[:, 3] = 0  # a tag that no image has
    return p, labels


def _average_precision(p: Tensor, labels: Tensor) -> float:
    """Mean over the images with the tag of the precision down to each, by its definition."""
    ranks = [int((p >= own).sum()) for own in p[labels > 0]]
    right = [int((labels[p >= own]).sum()) for own in p[labels > 0]]
    return sum(r / n for r, n in zip(right, ranks, strict=True)) / len(ranks)


def test_scores_by_their_definitions(drawn: tuple[Tensor, Tensor]) -> None:
    p, labels = drawn
    halves, whole = [TagMeter(NAMES), TagMeter(NAMES)], TagMeter(NAMES)
    for meter, rows in zip(halves, (slice(0, 25), slice(25, 60)), strict=True):
        _update(meter, p[rows], labels[rows], torch.full((60,), -2.0)[rows])
    halves[0].merge(halves[1])
    _update(whole, p, labels, torch.full((60,), -2.0))
    scores = whole.compute()
    assert scores == halves[0].compute()
    answers = (p > 0.5).long()
    wanted = sum(_average_precision(p[:, n], labels[:, n]) for n in range(3)) / 3
    assert scores.mean_ap == pytest.approx(100 * wanted, abs=1e-3)
    micro = multilabel_f1_score(answers, labels, 4, average="micro")
    macro = multilabel_f1_score(answers[:, :3], labels[:, :3], 3, average="macro")
    assert scores.micro_f1 == pytest.approx(100 * float(micro), abs=1e-4)
    assert scores.macro_f1 == pytest.approx(100 * float(macro), abs=1e-4)
    wrong = answers != labels
    assert scores.hamming == pytest.approx(100 * float(wrong.double().mean()))
    assert scores.subset_accuracy == pytest.approx(100 * float((~wrong.any(1)).double().mean()))
    assert (scores.nll, scores.count) == (2.0, 60)
    assert (scores.macro_f1_tuned, scores.consistency) == (None, None)


def test_thresholds_have_the_best_f1(drawn: tuple[Tensor, Tensor]) -> None:
    p, labels = drawn
    meter = TagMeter(NAMES)
    _update(meter, p, labels)
    thresholds = meter.best_thresholds()
    assert thresholds["rare"] == 0.5
    for n, name in enumerate(NAMES[:3]):
        best = binary_f1_score((p[:, n] >= thresholds[name]).long(), labels[:, n])
        for other in p[:, n]:
            assert binary_f1_score((p[:, n] >= other).long(), labels[:, n]) <= best + 1e-6
    tuned = TagMeter(NAMES, thresholds=thresholds)
    _update(tuned, p, labels)
    scores = tuned.compute()
    assert scores.macro_f1_tuned is not None
    assert scores.macro_f1_tuned >= scores.macro_f1


def test_combinations_examples_and_what_is_never_predicted() -> None:
    meter = TagMeter(NAMES, [(1, 0, 0, 0)])
    p = torch.tensor([[0.9, 0.1, 0.1, 0.1], [0.2, 0.1, 0.1, 0.4]])
    _update(meter, p, torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]]))
    assert meter.compute().consistency == 0.5
    assert meter.never_predicted == ("grass", "rare")
    assert meter.examples(2) == [("dog, grass", "dog"), ("rare", "(no tag)")]
    assert meter.correct.tolist() == [False, False]
