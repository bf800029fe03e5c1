from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from addkit.errors import DataError
from addkit.plugin.values import Batch
from addkit.report import figure_data
from addkit.report import predictions as module
from addkit.report.ablation_files import AblationFiles
from addkit.report.predictions import FreshPredictions, judge, truths
from addkit.report.run_files import NotShownError, RunFiles
from addkit.runs import Run
from addkit.tasks.captioning import Captioning
from addkit.tasks.predictions import (
    Caption,
    CaptionPrediction,
    JointAnswer,
    JointPrediction,
    LabelScore,
    Token,
)

from .made import made_ablation


@pytest.fixture(scope="module")
def fresh(digits_run: Path) -> FreshPredictions:
    return FreshPredictions(RunFiles.open(digits_run))


def _scores(run: Run) -> dict[str, float]:
    return run.manifest().scores["ema"]


def test_fresh_answers_score_as_the_training_did(fresh: FreshPredictions) -> None:
    names = [model.name for model in fresh.tested]
    assert names == ["ADD", "control, linear", "control, mlp"]
    for model, run in zip(fresh.tested, fresh.files.models.values(), strict=True):
        assert 100 * model.right.mean() == pytest.approx(_scores(run)["top1"])
    for found, run in zip(
        figure_data.reliabilities(fresh), fresh.files.models.values(), strict=True
    ):
        assert found.ece == pytest.approx(_scores(run)["ece"], abs=0.01)
        assert sum(one.count for one in found.bins) == 539


def test_classes_and_confusions_add_up(fresh: FreshPredictions) -> None:
    found = figure_data.class_accuracies(fresh)
    assert [one.name for one in found] == list("0123456789")
    whole = sum(one.right * one.count for one in found) / 539
    assert whole == pytest.approx(100 * fresh.tested[0].right.mean())
    counts = figure_data.confusion(fresh).counts
    assert sum(counts.values()) == 539
    assert sum(n for (k, j), n in counts.items() if k == j) == fresh.tested[0].right.sum()


def test_differences_are_paired_by_image(fresh: FreshPredictions) -> None:
    row = figure_data.paired_differences(fresh).rows[0]
    gaps = 100.0 * (fresh.tested[0].right.astype(int) - fresh.tested[1].right.astype(int))
    half = 1.9644 * gaps.std(ddof=1) / np.sqrt(539)
    expected = (gaps.mean(), gaps.mean() - half, gaps.mean() + half)
    assert (row.mean, row.low, row.high) == pytest.approx(expected, abs=1e-3)


def test_a_chain_has_a_distribution_at_each_step(fresh: FreshPredictions) -> None:
    found = figure_data.chain_stories(fresh)
    assert len(found) == 4
    for story in found:
        assert story.p.shape == (10, 20)
        assert story.p.sum(0) == pytest.approx(1)
        assert story.title.removeprefix("truth: ") in "0123456789"


def test_figure_4_puts_the_losses_of_an_image_side_by_side(
    digits_run: Path, tmp_path: Path
) -> None:
    """The same images and noise: two arms with the same weights have the same chains."""
    result = AblationFiles.open(made_ablation(tmp_path / "abl")).result
    arms = [
        replace(result.arms[0], runs=[str(digits_run), "another seed"]),
        replace(result.arms[1], runs=[str(tmp_path / "no run")]),  # other steps, the same loss
    ]
    base = replace(result.base, runs=[str(digits_run)])
    files = AblationFiles(tmp_path / "abl", replace(result, base=base, arms=arms))
    stories = figure_data.arm_chains(files)
    assert [story.title.split(", truth")[0] for story in stories] == ["base", arms[0].name] * 2
    for one, other in zip(stories[::2], stories[1::2], strict=True):
        assert np.array_equal(one.p, other.p)
    with pytest.raises(NotShownError, match="--loss"):
        figure_data.arm_chains(AblationFiles(files.path, replace(files.result, arms=[])))


def test_examples_are_spread_and_then_the_surest_mistakes(fresh: FreshPredictions) -> None:
    even, wrong = figure_data.examples(fresh)
    assert len(even) == 8
    assert [example.answers[0].right for example in wrong] == [False] * len(wrong)
    sure = [example.answers[0].confidence for example in wrong]
    assert sure == sorted(sure, reverse=True)
    first = even[0]
    assert [answer.model for answer in first.answers] == ["ADD", "control, linear", "control, mlp"]
    assert first.answers[0].right == (first.answers[0].text == first.truth)


def test_only_some_images_are_asked_about(digits_run: Path) -> None:
    few = FreshPredictions(RunFiles.open(digits_run), most=7)
    assert (few.indices[0], few.indices[-1], len(few.indices)) == (0, 538, 7)
    assert len(few.tested[0].judged) == len(few.labels) == 7


def test_data_that_has_gone(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(recipe: object) -> None:
        raise DataError("images: no such file")

    monkeypatch.setattr(module, "build_data", gone)
    lost = FreshPredictions(RunFiles.open(digits_run))
    for look in (
        figure_data.examples,
        figure_data.chain_stories,
        figure_data.confusion,
        figure_data.reliabilities,
    ):
        with pytest.raises(NotShownError) as error:
            look(lost)
        assert "images: no such file" in str(error.value)
        assert f"`addkit report {digits_run} --set data.KEY=PATH`" in str(error.value)


def test_data_of_other_classes(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SimpleNamespace(num_classes=3)
    monkeypatch.setattr(module, "build_data", lambda recipe: SimpleNamespace(facts=facts))
    with pytest.raises(NotShownError, match="it has 3 classes, and the run was trained on 10"):
        _ = FreshPredictions(RunFiles.open(digits_run)).images


def test_weights_that_have_gone(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: Path) -> None:
        raise DataError("raw.safetensors: cannot be read")

    monkeypatch.setattr(module, "load", gone)
    with pytest.raises(NotShownError, match=r"weights cannot be loaded \(raw.safetensors: cannot"):
        _ = FreshPredictions(RunFiles.open(digits_run)).tested


def test_a_caption_is_right_if_it_equals_a_reference() -> None:
    task = object.__new__(Captioning)
    batch = Batch(torch.zeros(2, 1), torch.zeros(2, 1), (0, 1), texts=(("a cat", "cat"), ("dog",)))
    predictor = SimpleNamespace(task=task)
    monkey = Captioning.vocabulary
    Captioning.vocabulary = property(lambda self: None)  # type: ignore[assignment]
    try:
        tokens = (Token("cat", 0.5), Token("s", 0.5))
        answers = [
            CaptionPrediction((Caption(text, tokens, 0.0, 0.125),), 1) for text in ("cat", "")
        ]
        first, second = judge(answers, batch, predictor)  # type: ignore[arg-type]
        assert truths(batch, predictor) == ["a cat", "dog"]  # type: ignore[arg-type]
    finally:
        Captioning.vocabulary = monkey  # type: ignore[method-assign]
    assert (first.answer.right, first.answer.confidence, first.answer.text) == (True, 0.125, "cat")
    assert (second.answer.right, second.answer.text) == (False, "(no words)")


def test_a_joint_answer_is_right_where_the_labels_are_known() -> None:
    facts = SimpleNamespace(
        token_names=("tone", "kind"),
        token_classes=((0, 2), (2, 4)),
        class_names=("light", "dark", "dark", "plain"),
        tag_shares=(),
    )
    predictor = SimpleNamespace(task=None, facts=facts, class_names=facts.class_names)
    batch = Batch(torch.zeros(2, 1), torch.tensor([[1, 2], [-1, 3]]), (0, 1))
    scores = {"tone": (LabelScore("dark", 1, 0.75, 1.0),), "kind": ()}
    answer = JointPrediction((JointAnswer({"tone": "dark", "kind": "dark"}, 0.4, 1.0),), scores, 1)
    first, second = judge([answer, answer], batch, predictor)  # type: ignore[arg-type]
    assert (first.ids, first.answer.right, first.answer.confidence) == ((1, 2), True, 0.4)
    assert first.answer.text == "tone: dark, kind: dark"
    assert first.answer.marginals[0] == ("tone", "dark 75 %")
    assert not second.answer.right
    assert truths(batch, predictor) == ["tone: dark, kind: dark", "kind: plain"]  # type: ignore[arg-type]
