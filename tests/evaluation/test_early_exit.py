from __future__ import annotations

from pathlib import Path

import pytest

from addkit.diffusion import Answer
from addkit.errors import UsageError
from addkit.evaluation.audit import exit_curve, needs_loop
from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import Inference, Predictor, build_data, load


@pytest.fixture(scope="module")
def predictor(digits_run: Path) -> Predictor:
    return load(digits_run)


def _evaluator(predictor: Predictor) -> Evaluator:
    images = build_data(predictor.recipe).split("test")
    return Evaluator.for_predictor(predictor, images, seed=0)


def _answers(predictor: Predictor, inference: Inference) -> list[Answer]:
    batches = _evaluator(predictor).predict_batches({"it": Setting(inference)})
    return [answer for _, answer, _ in batches]


def test_the_whole_chain_comes_first_and_each_value_once(predictor: Predictor) -> None:
    # A recipe of one step has nothing to stop.
    one_step = predictor.inference.replace(steps=1)
    rows = exit_curve(_evaluator(predictor), one_step, [3, 1, 3, 0], "top1")
    assert [row.early_exit for row in rows] == [0, 3, 1]
    whole, three, one = rows
    assert (whole.mean_steps, whole.saved, whole.difference) == (20, 0, 0)
    # The first answer has stood once.
    assert (one.mean_steps, one.saved) == (1, pytest.approx(0.95))
    assert 3 <= three.mean_steps < 20
    assert three.saved == pytest.approx(1 - three.mean_steps / 20)
    for row in rows:
        assert row.difference == pytest.approx(row.value - whole.value, abs=1e-4)
        assert row.low <= row.difference <= row.high


def test_steps_are_those_of_the_answers(predictor: Predictor) -> None:
    inference = predictor.inference.replace(read_out="vote", steps=6, chains=2)
    row = exit_curve(_evaluator(predictor), inference, [2], "top1")[1]
    taken = [
        int(n)
        for answer in _answers(predictor, inference.replace(early_exit=2))
        for n in answer.steps
    ]
    assert row.mean_steps == pytest.approx(sum(taken) / len(taken))
    assert len(taken) == 539


def test_a_process_without_a_loop_is_refused(predictor: Predictor) -> None:
    needs_loop(predictor)

    class Plain:
        loops = False
        recipe = predictor.recipe

    with pytest.raises(UsageError) as caught:
        needs_loop(Plain())  # type: ignore[arg-type]
    assert all(part in str(caught.value) for part in ("--early-exit", '"gaussian"'))
