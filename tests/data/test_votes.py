"""Annotators' votes, their error rates, and the evidence that follows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from addkit.data.votes import (
    Vote,
    estimated_confusions,
    evidence_of,
    of_image,
    read_confusions,
    read_votes,
)
from addkit.errors import DataError
from addkit.plugin import Problem

PETS = Problem(
    num_classes=5,
    num_tokens=2,
    class_names=("big", "small", "dark", "light", "medium"),
    token_names=("size", "tone"),
    token_classes=((0, 2), (2, 5)),
)


def _file(tmp_path: Path, name: str, *lines: str) -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_votes_add_up(tmp_path: Path) -> None:
    votes = _file(
        tmp_path, "v.csv", "image,annotator,tone,size", "a.png,ann,dark,", "a.png,bob,dark,small",
        "b.png,bob,,big",
    )  # fmt: skip
    rates = _file(tmp_path, "r.csv", "annotator,accuracy,attribute", "ann,0.8,tone", "bob,0.6,")
    listed = read_votes(votes, PETS)
    assert len(listed) == 4
    evidence = evidence_of(listed, read_confusions(rates, PETS), PETS)
    own = of_image(evidence, str(tmp_path / "a.png"))
    assert own is not None
    expected = torch.tensor([0.8 * 0.6, 0.1 * 0.2, 0.1 * 0.2])
    torch.testing.assert_close(own[1, 2:].exp(), expected)
    torch.testing.assert_close(own[0, :2].exp(), torch.tensor([0.4, 0.6]))
    # Names that lead to the same file are the same image.
    (tmp_path / "folder").mkdir()
    again = of_image(evidence, str(tmp_path / "folder" / ".." / "b.png"))
    assert again is not None
    assert not again[1].any()
    assert of_image(evidence, str(tmp_path / "c.png")) is None


def test_a_confusion_matrix_is_read_by_true_value(tmp_path: Path) -> None:
    matrix = _file(
        tmp_path, "m.csv", "annotator,attribute,true,answer,probability",
        "ann,tone,dark,dark,0.7", "ann,tone,dark,medium,0.3", "ann,tone,light,light,0.5",
    )  # fmt: skip
    confusions = read_confusions(matrix, PETS)
    expected = torch.tensor([[0.7, 0.0, 0.3], [0.25, 0.5, 0.25], [1 / 3] * 3])
    torch.testing.assert_close(confusions["ann", "tone"], expected)
    # An answer "medium" is likelihoods by column: what each true value makes of it.
    evidence = evidence_of([Vote(Path("x"), "ann", "tone", 2)], confusions, PETS)[Path("x")]
    torch.testing.assert_close(evidence[1, 2:].exp(), expected[:, 2])


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("image,tone", "a,dark"), ("v.csv:1", "annotator")),
        (("image,annotator,tine", "a,ann,dark"), ("v.csv:1", "tine", "tone")),
        (("image,annotator,tone", "a,ann,darl"), ("v.csv:2", "darl", "dark")),
        (("image,annotator,tone", "a,ann,dark", "a,ann,light"), ("v.csv:3", "ann", "line 2")),
    ],
)
def test_votes_that_are_wrong(
    tmp_path: Path, lines: tuple[str, ...], named: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as raised:
        read_votes(_file(tmp_path, "v.csv", *lines), PETS)
    assert all(word in str(raised.value) for word in named)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("annotator,acuracy", "ann,0.5"), ("r.csv:1", "accuracy")),
        (("annotator,accuracy", "ann,1.5"), ("r.csv:2", "1.5")),
        (("annotator,accuracy", "ann,much"), ("r.csv:2", "much")),
        (("annotator,attribute,accuracy", "ann,tine,0.5"), ("r.csv:2", "tine", "tone")),
        (
            ("annotator,attribute,true,answer,probability", "ann,tone,dark,dark,0.8",
             "ann,tone,dark,light,0.4"),
            ("r.csv", "ann", "dark", "1.2"),
        ),
    ],
)  # fmt: skip
def test_rates_that_are_wrong(
    tmp_path: Path, lines: tuple[str, ...], named: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as raised:
        read_confusions(_file(tmp_path, "r.csv", *lines), PETS)
    assert all(word in str(raised.value) for word in named)


def test_an_annotator_of_unknown_rate(tmp_path: Path) -> None:
    rates = read_confusions(_file(tmp_path, "r.csv", "annotator,accuracy", "anna,0.5"), PETS)
    with pytest.raises(DataError, match=r'"ann".*did you mean "anna"'):
        evidence_of([Vote(Path("x"), "ann", "tone", 2)], rates, PETS)


def test_error_rates_are_found_from_votes_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (200,), generator=generator)
    accuracies, votes = {"a": 0.9, "b": 0.8, "c": 0.6, "d": 0.4}, []
    for who, accuracy in accuracies.items():
        right = torch.rand(200, generator=generator) < accuracy
        other = (truth + 1 + torch.randint(2, (200,), generator=generator)) % 3
        answers = torch.where(right, truth, other).tolist()
        votes += [Vote(Path(str(n)), who, "tone", answer) for n, answer in enumerate(answers)]
    confusions = estimated_confusions(votes, PETS)
    for who, accuracy in accuracies.items():
        matrix = confusions[who, "tone"]
        torch.testing.assert_close(matrix.sum(1), torch.ones(3))
        assert float(matrix.diagonal().mean()) == pytest.approx(accuracy, abs=0.1)
        assert float(matrix.min()) > 0
