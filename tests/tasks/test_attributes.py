from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from addkit.diffusion import FREE, Answer
from addkit.errors import UsageError
from addkit.plugin import Problem
from addkit.plugin.values import MISSING, Batch
from addkit.tasks.attributes import Attributes
from addkit.tasks.predictions import JointPrediction

BIG, SMALL, DARK, LIGHT, MEDIUM = range(5)
PETS = Problem(
    num_classes=5,
    num_tokens=2,
    class_names=("big", "small", "dark", "light", "medium"),
    token_names=("size", "tone"),
    token_classes=((0, 2), (2, 5)),
    combinations=((BIG, DARK), (SMALL, LIGHT), (SMALL, MEDIUM)),
)


def _answer(candidates: list[list[int]], labels: list[int] | None = None) -> Answer:
    rows = torch.tensor([candidates])
    probabilities = torch.tensor([[[0.7, 0.3, 0, 0, 0], [0, 0, 0.1, 0.6, 0.3]]])
    votes = torch.tensor([[[0.75, 0.25, 0, 0, 0], [0, 0, 0.5, 0.5, 0]]])
    return Answer(
        labels=torch.tensor([labels or candidates[0]]),
        probabilities=probabilities,
        votes=votes,
        steps=torch.tensor([4]),
        candidates=rows,
        confidence=torch.ones(rows.shape),
        scores=-torch.arange(float(rows.shape[1]))[None],
    )


def test_a_missing_value_has_no_weight_and_is_not_known() -> None:
    labels = torch.tensor([[[BIG, MISSING]], [[MISSING, MEDIUM]], [[SMALL, DARK]]])
    targets = Attributes(PETS).targets(labels)
    known = torch.tensor([[[True, False]], [[False, True]], [[True, True]]])
    assert torch.equal(targets.known, known)
    assert torch.equal(targets.weights, known.float())
    assert torch.equal(targets.labels, torch.where(known, labels, 0))
    assert targets.real is None
    assert targets.present is None


def test_some_values_are_given() -> None:
    given = Attributes(PETS).given_labels
    assert given({"tone": "light"}).tolist() == [FREE, LIGHT]
    assert given({"size": "small", "tone": "dark"}).tolist() == [SMALL, DARK]
    assert given({}).tolist() == [FREE, FREE]


def test_a_value_that_two_attributes_share_is_the_named_ones() -> None:
    names = ("none", "red", "none", "dotted", "striped")
    given = Attributes(replace(PETS, class_names=names)).given_labels
    assert given({"tone": "none"}).tolist() == [FREE, 2]
    assert given({"size": "none"}).tolist() == [0, FREE]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tonne": "dark"}, 'no attribute "tonne" (did you mean "tone"?); there are: size, tone'),
        ({"weight": "3"}, 'no attribute "weight"; there are: size, tone'),
        ({"tone": "big"}, 'tone = "big": no such value; there are: dark, light, medium'),
        ({"tone": "drak"}, 'tone = "drak": no such value (did you mean "dark"?); there are: dark'),
        ({"length": "2"}, 'no attribute "length"; there are: size, tone'),
    ],
)
def test_what_cannot_be_given(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Attributes(PETS).given_labels(given)
    assert message in str(error.value)


def test_attributes_need_names() -> None:
    with pytest.raises(UsageError, match="needs data with several attributes"):
        Attributes(Problem())


def test_joint_answers_are_listed_once_with_their_share() -> None:
    rows = [[BIG, DARK], [SMALL, LIGHT], [BIG, DARK], [BIG, LIGHT]]
    (prediction,) = Attributes(PETS).predictions(_answer(rows), 5)
    assert isinstance(prediction, JointPrediction)
    assert [answer.values for answer in prediction.answers] == [
        {"size": "big", "tone": "dark"},
        {"size": "small", "tone": "light"},
        {"size": "big", "tone": "light"},
    ]
    assert [answer.votes for answer in prediction.answers] == [0.5, 0.25, 0.25]
    assert [answer.probability for answer in prediction.answers] == [None, None, None]
    assert prediction.values == {"size": "big", "tone": "dark"}
    assert prediction.steps == 4


def test_the_read_outs_own_answer_comes_first_even_if_no_chain_gave_it() -> None:
    (prediction,) = Attributes(PETS).predictions(
        _answer([[BIG, DARK], [SMALL, LIGHT]], [BIG, LIGHT]), 2
    )
    assert prediction.values == {"size": "big", "tone": "light"}
    assert [answer.votes for answer in prediction.answers] == [0, 0.5]


def test_an_answer_whose_likelihood_is_known_has_its_probability() -> None:
    rows = [[BIG, DARK], [SMALL, LIGHT], [BIG, DARK]]
    log_p = torch.tensor([[0.5, 0.125, 0.5]]).log()
    (prediction,) = Attributes(PETS).predictions(replace(_answer(rows), log_p=log_p), 5)
    assert [answer.probability for answer in prediction.answers] == pytest.approx([0.5, 0.125])
    (prediction,) = Attributes(PETS).predictions(
        replace(_answer(rows, [BIG, LIGHT]), log_p=log_p), 5
    )
    assert prediction.answers[0].probability is None


def test_each_attribute_has_marginals_of_its_own_values() -> None:
    (prediction,) = Attributes(PETS).predictions(_answer([[BIG, DARK]]), 2)
    tone = prediction.marginals["tone"]
    assert [(score.name, score.index) for score in tone] == [("light", 3), ("medium", 4)]
    assert [score.probability for score in tone] == pytest.approx([0.6, 0.3])
    assert [score.votes for score in tone] == [0.5, 0]
    assert [score.name for score in prediction.marginals["size"]] == ["big", "small"]
    (prediction,) = Attributes(PETS).predictions(_answer([[BIG, DARK]]), 9)
    assert [len(scores) for scores in prediction.marginals.values()] == [2, 3]


def test_rows_and_data_say_the_same() -> None:
    answer = replace(
        _answer([[BIG, DARK], [SMALL, LIGHT]]), log_p=torch.tensor([[0.25, 0.5]]).log()
    )
    (prediction,) = Attributes(PETS).predictions(answer, 1)
    assert prediction.rows() == [
        ("joint", "big, dark", "25.00", "50"),
        ("size", "big", "70.00", "75"),
        ("tone", "light", "60.00", "50"),
    ]
    (joint,) = prediction.data()["answers"]
    assert joint["values"] == {"size": "big", "tone": "dark"}
    assert (joint["probability"], joint["votes"]) == (pytest.approx(0.25), 0.5)
    assert prediction.data()["marginals"]["size"][0]["name"] == "big"
    assert all(len(row) == len(Attributes.columns) for row in prediction.rows())
    (prediction,) = Attributes(PETS).predictions(_answer([[BIG, DARK]]), 1)
    assert prediction.rows()[0] == ("joint", "big, dark", "-", "100")


def test_its_meter_knows_the_combinations() -> None:
    meter = Attributes(PETS).meter()
    labels: Tensor = torch.tensor([[BIG, DARK]])
    meter.update(_answer([[BIG, LIGHT]]), Batch(torch.zeros(1, 1, 2, 2), labels, (0,)))
    scores = meter.compute()
    assert (scores.exact_match, scores.consistency, scores.token_accuracy) == (0, 0, 0.5)
