from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from addkit_paper.claims.quantities import (
    ArmScore,
    CaptionCosine,
    CaptionScore,
    CaptionValidation,
    EpochMean,
    GainOverSteps,
    LastStepAccuracy,
    MeanConfidence,
    ScoreAtSteps,
)
from addkit_paper.claims.stored_results import MissingResultError, StoredResults
from made import evaluated, uncertainty
from made_results import clipped, made_captions, made_stored_results, noted, with_runs

CE = {"loss.name": "ce"}


def _values(quantity: Any, results: StoredResults) -> dict[int, float]:
    return pytest.approx(quantity.read(results).values)


def _missing(quantity: Any, results: StoredResults, text: str) -> None:
    with pytest.raises(MissingResultError, match=text):
        quantity.read(results)


def test_the_base_has_its_own_steps(tmp_path: Path) -> None:
    arms = [({**CE, "sampling.steps": 1}, (1.0, 2.0, 3.0)), (CE, (4.0, 6.0, 8.0))]
    results = made_stored_results(tmp_path, *arms, ({"sampling.steps": 5}, (9.0, 9.0, 9.0)))
    assert ArmScore().read(results).title == "top-1, %"
    assert _values(ScoreAtSteps(20), results) == {0: 80.0, 1: 81.0, 2: 82.0}
    assert _values(ScoreAtSteps(5), results) == {0: 9.0, 1: 9.0, 2: 9.0}
    assert _values(GainOverSteps(ScoreAtSteps(1, CE), ScoreAtSteps(20, CE)), results) == {
        0: 3.0,
        1: 4.0,
        2: 5.0,
    }
    _missing(ScoreAtSteps(50, CE), results, "no arm `loss.name=ce, sampling.steps=50`")


def test_a_base_sampled_otherwise_has_no_arm_of_twenty_steps(tmp_path: Path) -> None:
    runs = with_runs(tmp_path, "base", steps=5)
    results = made_stored_results(tmp_path, runs=runs)
    assert _values(ScoreAtSteps(5), results) == {0: 80.0, 1: 81.0, 2: 82.0}
    _missing(ScoreAtSteps(20), results, "no arm `sampling.steps=20`")


def test_parts_of_a_training(tmp_path: Path) -> None:
    linear = {"control.heads": "linear"}
    runs = with_runs(tmp_path, "base", epochs=30), with_runs(tmp_path, "linear", epochs=12)
    results = made_stored_results(tmp_path, (linear, (1.0, 2.0, 3.0), runs[1]), runs=runs[0])
    # Each epoch adds a point and the last ends at 80: epochs 26 to 30 score 76 to 80.
    assert _values(EpochMean({}, 5 / 6, 1.0), results) == {0: 78.0, 1: 78.0, 2: 78.0}
    assert _values(EpochMean({}, 4 / 6, 5 / 6), results) == {0: 73.0, 1: 73.0, 2: 73.0}
    assert EpochMean({}, 0, 1).read(results).title == "top-1, %"
    _missing(
        EpochMean(linear, 0, 1), results, "not tested at this budget: 12 epochs, of at least 30"
    )
    for run in runs[0]:
        Path(run, "metrics.jsonl").write_text("")
    _missing(
        EpochMean({}, 0, 0.9),
        results,
        r"no epoch of that part was scored.*training\.evaluate_every=1",
    )


def test_run_folders_that_no_longer_exist(tmp_path: Path) -> None:
    results = made_stored_results(tmp_path, (CE, (1.0, 2.0, 3.0)))
    _missing(EpochMean({}, 0, 1), results, "the run folders of the base no longer")
    _missing(EpochMean(CE, 0, 1), results, "the run folders of `loss.name=ce` no longer")


def _row(confidence: str, scaled: bool, low: float) -> dict[str, Any]:
    bins = [
        {"count": 0, "confidence": None, "accuracy": None},
        {"count": 1, "confidence": low, "accuracy": 1.0},
        {"count": 3, "confidence": 1.0, "accuracy": 1.0},
    ]
    return {"confidence": confidence, "scaled": scaled, "top1": 90.0, "reliability": bins}


def test_confidence_of_the_last_step(tmp_path: Path) -> None:
    runs = with_runs(tmp_path, "base")
    results = made_stored_results(tmp_path, runs=runs)
    _missing(
        MeanConfidence(), results, "no confidence of the last step.*--uncertainty.*`addkit plot ch"
    )
    rows = [_row("one-pass", False, 0.0), _row("last", True, 0.1), _row("last", False, 0.6)]
    evaluated(Path(runs[0]), [], uncertainty=uncertainty(*rows))
    evaluated(Path(runs[1]), [], uncertainty=uncertainty(*rows), split="validation")
    evaluated(Path(runs[2]), [], uncertainty=None)
    assert _values(MeanConfidence(), results) == {0: 90.0}
    assert MeanConfidence().read(results).title == "mean confidence, %"
    assert _values(LastStepAccuracy(), results) == {0: 90.0}


def test_captions_and_their_controls(tmp_path: Path) -> None:
    runs = made_captions(tmp_path, controls={"masked": (0.5, 0.6)})
    results = made_stored_results(tmp_path, captions=runs)
    assert CaptionScore("exact_match").read(results).title == "exact match, %"
    assert _values(CaptionScore("exact_match"), results) == {0: 60.0, 1: 70.0, 2: 80.0}
    assert _values(CaptionScore("exact_match", "masked"), results) == {0: 50.0, 1: 60.0}
    _missing(CaptionScore("exact_match", "one-shot"), results, 'no .* finished control "one-shot"')
    noted(runs[0] / "controls" / "masked", status="training")
    assert _values(CaptionScore("exact_match", "masked"), results) == {1: 60.0}


def test_without_captions(tmp_path: Path) -> None:
    results = made_stored_results(tmp_path)
    for quantity in (CaptionScore("exact_match"), CaptionCosine("ADD"), CaptionValidation(1)):
        _missing(
            quantity, results, r"^no captioning runs were given; `addkit claims --captions RUN"
        )


def test_table_3(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    results = made_stored_results(tmp_path, captions=runs)
    _missing(CaptionCosine("ADD"), results, 'no CLIP score of the row "ADD".*--clip MODEL:WEIGHTS')
    for seed, run in enumerate(runs):
        clipped(run, ADD=0.2 + seed / 10, shuffled_captions=0.0)
    results = made_stored_results(tmp_path, captions=runs)
    assert CaptionCosine("ADD").read(results).title == "CLIP cosine"
    assert _values(CaptionCosine("ADD"), results) == {0: 0.2, 1: 0.3, 2: 0.4}
    assert _values(CaptionCosine("shuffled captions"), results) == {0: 0.0, 1: 0.0, 2: 0.0}
    _missing(CaptionCosine("masked"), results, 'of the row "masked"')


def test_table_3_of_another_length_of_chain_or_clip(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    clipped(runs[0], steps=50, ADD=0.1)
    clipped(runs[1], ADD=0.3)
    results = made_stored_results(tmp_path, captions=runs)
    assert _values(CaptionCosine("ADD"), results) == {1: 0.3}
    clipped(runs[2], clip="large", ADD=0.4)
    results = made_stored_results(tmp_path, captions=runs)
    _missing(CaptionCosine("ADD"), results, "different CLIP models")


def test_choice_of_steps(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    results = made_stored_results(tmp_path, captions=runs)
    assert _values(CaptionValidation(20), results) == {0: 30.0, 1: 35.0, 2: 40.0}
    for run in runs:
        stored = json.loads((run / "manifest.json").read_text())
        del stored["chosen_from"]
        (run / "manifest.json").write_text(json.dumps(stored))
    results = made_stored_results(tmp_path, captions=runs)
    _missing(CaptionValidation(20), results, "no captioning run was scored at several steps")
