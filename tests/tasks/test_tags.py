from __future__ import annotations

import pytest
import torch

from addkit.diffusion import FREE, Answer
from addkit.errors import UsageError
from addkit.plugin import Problem
from addkit.tasks.settings import TagsConfig
from addkit.tasks.tags import Tags

PROBLEM = Problem(
    num_classes=2,
    num_tokens=3,
    class_names=("no", "yes"),
    token_names=("dog", "no entry", "ball"),
    token_classes=((0, 2),) * 3,
    tag_shares=(0.5, 0.2, 0.1),
)


def _task(**settings: object) -> Tags:
    return Tags(TagsConfig.model_validate(settings), PROBLEM)


def test_rare_tags_have_larger_weights_where_asked() -> None:
    labels = torch.tensor([[[1, 0, 1]], [[0, 1, 0]]])
    assert _task().targets(labels).weights is None
    weights = _task(positive_weight=1.0).targets(labels).weights
    torch.testing.assert_close(weights, torch.tensor([[[1.0, 1, 9]], [[1, 4, 1]]]))
    weights = _task(positive_weight=0.5).targets(labels).weights
    torch.testing.assert_close(weights, torch.tensor([[[1.0, 1, 3]], [[1, 2, 1]]]))


def test_given_tags() -> None:
    given = _task().given_labels
    assert given({"dog": "", "no ball": ""}).tolist() == [1, FREE, 0]
    assert given({"dog": "no", "no entry": ""}).tolist() == [0, 1, FREE]
    assert given({"no no entry": ""}).tolist() == [FREE, 0, FREE]
    for wrong, part in (
        ({"dgo": ""}, 'did you mean "dog"'),
        ({"dog": "maybe"}, "yes"),
        ({"dog": "", "no dog": ""}, "dog"),
    ):
        with pytest.raises(UsageError, match=part):
            given(wrong)


def test_answers_list_tags_with_probabilities() -> None:
    task = _task()
    task.thresholds = {"dog": 0.3, "no entry": 0.5, "ball": 0.2}
    p = torch.tensor([[0.9, 0.1, 0.25]])
    rows = torch.tensor([[[1, 0, 0], [1, 0, 1], [1, 0, 0], [1, 0, 0]]])
    answer = Answer(
        labels=rows[:, 0],
        probabilities=torch.stack([1 - p, p], -1),
        votes=torch.stack([1 - p, p], -1),
        steps=torch.tensor([3]),
        candidates=rows,
        confidence=torch.ones(rows.shape),
        scores=torch.zeros(1, 4),
        log_p=torch.tensor([[0.5, 0.25, 0.5, 0.5]]).log(),
    )
    (shown,) = task.predictions(answer, top=1)
    assert shown.tags == ("dog",)
    assert shown.summary == "dog"
    assert [(score.name, score.present, score.threshold) for score in shown.scores] == [
        ("dog", True, 0.3),
        ("ball", False, 0.2),
        ("no entry", False, 0.5),
    ]
    assert [(each.tags, each.votes) for each in shown.answers] == [(("dog",), 0.75)]
    assert shown.answers[0].probability == pytest.approx(0.5)
    assert [row[:3] for row in shown.rows()] == [
        ("dog", "yes", "90.00"),
        ("ball", "no", "25.00"),
        ("together", "dog", "50.00"),
    ]
    assert {tag["name"] for tag in shown.data()["tags"]} == set(PROBLEM.token_names)
    assert "dog" in shown._repr_html_()
    assert task.given_labels(shown.values).tolist() == [1, 0, 0]
