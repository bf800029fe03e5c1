from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from addkit import LabelScore, Prediction
from addkit.diffusion import Answer
from addkit.errors import UsageError
from addkit.plugin import Problem, load_registry
from addkit.plugin.values import Batch
from addkit.tasks.classification import Classification
from addkit.tasks.settings import ClassificationConfig

# Not in the order of the alphabet: a class is its place in the data's own list.
PETS = Problem(num_classes=4, class_names=("dog", "fox", "cat", "emu"))


def _answer() -> Answer:
    probabilities = torch.tensor([[[0.1, 0.6, 0.1, 0.2]], [[0.4, 0.1, 0.3, 0.2]]])
    votes = torch.tensor([[[0.0, 0.75, 0.0, 0.25]], [[0.5, 0.0, 0.5, 0.0]]])
    labels = probabilities.argmax(-1)
    return Answer(
        labels=labels,
        probabilities=probabilities,
        votes=votes,
        steps=torch.tensor([3, 5]),
        candidates=labels.unsqueeze(1),
        confidence=torch.ones(2, 1, 1),
        scores=torch.zeros(2, 1),
    )


def _batch(*labels: int) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 4, 4), torch.tensor(labels).view(-1, 1), (0, 1))


def test_predictions_have_the_most_probable_first() -> None:
    predictions = Classification(PETS).predictions(_answer(), 2)
    assert predictions == [
        Prediction(
            (
                LabelScore("fox", 1, pytest.approx(0.6), 0.75),
                LabelScore("emu", 3, pytest.approx(0.2), 0.25),
            ),
            3,
        ),
        Prediction(
            (
                LabelScore("dog", 0, pytest.approx(0.4), 0.5),
                LabelScore("cat", 2, pytest.approx(0.3), 0.5),
            ),
            5,
        ),
    ]
    assert [prediction.label.name for prediction in predictions] == ["fox", "dog"]


def test_each_class_has_its_own_votes() -> None:
    answer = replace(_answer(), votes=torch.tensor([[[0.5, 0.25, 0.25, 0.0]]] * 2))
    first, second = Classification(PETS).predictions(answer, 4)
    assert [(s.name, s.votes) for s in first.labels[:2]] == [("fox", 0.25), ("emu", 0.0)]
    assert [(s.name, s.votes) for s in second.labels[:2]] == [("dog", 0.5), ("cat", 0.25)]


def test_predictions_as_json_and_as_rows() -> None:
    first = Classification(PETS).predictions(_answer(), 2)[0]
    assert first.data() == {
        "labels": [
            {"name": "fox", "probability": pytest.approx(0.6), "votes": 0.75},
            {"name": "emu", "probability": pytest.approx(0.2), "votes": 0.25},
        ],
        "steps": 3,
    }
    assert first.rows() == [("fox", "60.00", "75"), ("emu", "20.00", "25")]
    assert len(first.rows()[0]) == len(Classification.columns)


def test_every_label_counts_and_is_seen() -> None:
    labels = torch.tensor([[[1], [2]]])
    targets = Classification(PETS).targets(labels)
    assert targets.labels is labels
    assert (targets.weights, targets.known, targets.real, targets.present) == (None,) * 4
    assert Classification.predicts_length is False


def test_there_is_nothing_to_give() -> None:
    with pytest.raises(UsageError) as caught:
        Classification(PETS).given_labels({"template": "a _", "tone": "dark"})
    assert str(caught.value) == (
        "template, tone: a classification run has one label, and nothing to give it; "
        "templates, lengths and given values are for captions and attributes"
    )


def test_more_than_all_classes_are_all() -> None:
    predictions = Classification(PETS).predictions(_answer(), 99)
    assert [[s.name for s in p.labels] for p in predictions][1] == ["dog", "cat", "emu", "fox"]


def test_classes_without_names_are_numbers() -> None:
    predictions = Classification(Problem(num_classes=4)).predictions(_answer(), 1)
    assert [prediction.label.name for prediction in predictions] == ["1", "0"]


def test_a_meter_scores_answers() -> None:
    meter = Classification(PETS).meter()
    meter.update(_answer(), _batch(1, 3))
    assert meter.correct.tolist() == [True, False]
    assert meter.examples(4) == []
    scores = meter.compute()
    assert (scores.top1, scores.top5, scores.count) == (50, 100, 2)
    assert hasattr(scores, Classification.headline)
    first, another = Classification(PETS).meter(), Classification(PETS).meter()
    first.update(_answer(), _batch(1, 3))
    another.update(_answer(), _batch(1, 0))
    first.merge(another)
    assert first.correct.tolist() == [True, False, True, True]
    assert (first.compute().top1, first.compute().count) == (75, 4)


def test_the_task_is_a_component() -> None:
    spec = load_registry().get("task", "classification").spec
    assert (spec.kind, spec.name) == ("task", "classification")
    assert isinstance(spec.create(ClassificationConfig(), PETS), Classification)
