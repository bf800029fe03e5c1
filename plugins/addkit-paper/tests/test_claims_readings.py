from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from addkit_paper.claims.readings import (
    Accuracy,
    Arm,
    CaptionChoice,
    CaptionCosine,
    CaptionScore,
    Confidence,
    Epochs,
    Gain,
    Steps,
)
from addkit_paper.claims.series import NotThereError
from addkit_paper.claims.stored_results import Evidence
from made import evaluated, uncertainty
from made_results import clipped, made_captions, made_evidence, noted, with_runs

CE = {"loss.name": "ce"}


def _values(reading: Any, evidence: Evidence) -> dict[int, float]:
    return pytest.approx(reading.of(evidence).values)


def _refused(reading: Any, evidence: Evidence, text: str) -> None:
    with pytest.raises(NotThereError, match=text):
        reading.of(evidence)


def test_the_base_has_its_own_steps(tmp_path: Path) -> None:
    arms = [({**CE, "sampling.steps": 1}, (1.0, 2.0, 3.0)), (CE, (4.0, 6.0, 8.0))]
    found = made_evidence(tmp_path, *arms, ({"sampling.steps": 5}, (9.0, 9.0, 9.0)))
    assert Arm().of(found).title == "top-1, %"
    assert _values(Steps(20), found) == {0: 80.0, 1: 81.0, 2: 82.0}
    assert _values(Steps(5), found) == {0: 9.0, 1: 9.0, 2: 9.0}
    assert _values(Gain(Steps(1, CE), Steps(20, CE)), found) == {0: 3.0, 1: 4.0, 2: 5.0}
    _refused(Steps(50, CE), found, "no arm `loss.name=ce, sampling.steps=50`")


def test_a_base_of_other_steps_is_not_taken_for_twenty(tmp_path: Path) -> None:
    runs = with_runs(tmp_path, "base", steps=5)
    found = made_evidence(tmp_path, runs=runs)
    assert _values(Steps(5), found) == {0: 80.0, 1: 81.0, 2: 82.0}
    _refused(Steps(20), found, "no arm `sampling.steps=20`")


def test_parts_of_a_training(tmp_path: Path) -> None:
    linear = {"control.heads": "linear"}
    runs = with_runs(tmp_path, "base", epochs=30), with_runs(tmp_path, "linear", epochs=12)
    found = made_evidence(tmp_path, (linear, (1.0, 2.0, 3.0), runs[1]), runs=runs[0])
    # Each epoch adds a point and the last ends at 80: epochs 26 to 30 score 76 to 80.
    assert _values(Epochs({}, 5 / 6, 1.0), found) == {0: 78.0, 1: 78.0, 2: 78.0}
    assert _values(Epochs({}, 4 / 6, 5 / 6), found) == {0: 73.0, 1: 73.0, 2: 73.0}
    assert Epochs({}, 0, 1).of(found).title == "top-1, %"
    _refused(Epochs(linear, 0, 1), found, "not tested at this budget: 12 epochs; it takes 30")
    for run in runs[0]:
        Path(run, "metrics.jsonl").write_text("")
    _refused(Epochs({}, 0, 0.9), found, r"no epoch of that part was scored; training\.evaluate_ev")


def test_trainings_that_are_gone(tmp_path: Path) -> None:
    found = made_evidence(tmp_path, (CE, (1.0, 2.0, 3.0)))
    _refused(Epochs({}, 0, 1), found, "the trainings of the base are not there any more")
    _refused(Epochs(CE, 0, 1), found, "the trainings of `loss.name=ce` are not there any more")


def _row(confidence: str, scaled: bool, low: float) -> dict[str, Any]:
    bins = [
        {"count": 0, "confidence": None, "accuracy": None},
        {"count": 1, "confidence": low, "accuracy": 1.0},
        {"count": 3, "confidence": 1.0, "accuracy": 1.0},
    ]
    return {"confidence": confidence, "scaled": scaled, "top1": 90.0, "reliability": bins}


def test_confidence_of_the_last_step(tmp_path: Path) -> None:
    runs = with_runs(tmp_path, "base")
    found = made_evidence(tmp_path, runs=runs)
    _refused(Confidence(), found, "no confidence of the last step.*--uncertainty.*`addkit plot ch")
    rows = [_row("one-pass", False, 0.0), _row("last", True, 0.1), _row("last", False, 0.6)]
    evaluated(Path(runs[0]), [], uncertainty=uncertainty(*rows))
    evaluated(Path(runs[1]), [], uncertainty=uncertainty(*rows), split="validation")
    evaluated(Path(runs[2]), [], uncertainty=None)
    assert _values(Confidence(), found) == {0: 90.0}
    assert Confidence().of(found).title == "mean confidence, %"
    assert _values(Accuracy(), found) == {0: 90.0}


def test_captions_and_their_controls(tmp_path: Path) -> None:
    runs = made_captions(tmp_path, controls={"masked": (0.5, 0.6)})
    found = made_evidence(tmp_path, captions=runs)
    assert CaptionScore("exact_match").of(found).title == "exact match, %"
    assert _values(CaptionScore("exact_match"), found) == {0: 60.0, 1: 70.0, 2: 80.0}
    assert _values(CaptionScore("exact_match", "masked"), found) == {0: 50.0, 1: 60.0}
    _refused(CaptionScore("exact_match", "one-shot"), found, 'no .* finished control "one-shot"')
    noted(runs[0] / "controls" / "masked", status="training")
    assert _values(CaptionScore("exact_match", "masked"), found) == {1: 60.0}


def test_without_captions(tmp_path: Path) -> None:
    found = made_evidence(tmp_path)
    for reading in (CaptionScore("exact_match"), CaptionCosine("ADD"), CaptionChoice(1)):
        _refused(reading, found, r"^no caption runs were given; `addkit claims --captions RUN")


def test_table_3(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    found = made_evidence(tmp_path, captions=runs)
    _refused(CaptionCosine("ADD"), found, 'no CLIP score of the row "ADD".*--clip MODEL:WEIGHTS')
    for seed, run in enumerate(runs):
        clipped(run, ADD=0.2 + seed / 10, shuffled_captions=0.0)
    found = made_evidence(tmp_path, captions=runs)
    assert CaptionCosine("ADD").of(found).title == "CLIP cosine"
    assert _values(CaptionCosine("ADD"), found) == {0: 0.2, 1: 0.3, 2: 0.4}
    assert _values(CaptionCosine("shuffled captions"), found) == {0: 0.0, 1: 0.0, 2: 0.0}
    _refused(CaptionCosine("masked"), found, 'of the row "masked"')


def test_table_3_of_another_length_of_chain_or_clip(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    clipped(runs[0], steps=50, ADD=0.1)
    clipped(runs[1], ADD=0.3)
    found = made_evidence(tmp_path, captions=runs)
    assert _values(CaptionCosine("ADD"), found) == {1: 0.3}
    clipped(runs[2], clip="large", ADD=0.4)
    found = made_evidence(tmp_path, captions=runs)
    _refused(CaptionCosine("ADD"), found, "different CLIP models")


def test_choice_of_steps(tmp_path: Path) -> None:
    runs = made_captions(tmp_path)
    found = made_evidence(tmp_path, captions=runs)
    assert _values(CaptionChoice(20), found) == {0: 30.0, 1: 35.0, 2: 40.0}
    for run in runs:
        stored = json.loads((run / "manifest.json").read_text())
        del stored["chosen_from"]
        (run / "manifest.json").write_text(json.dumps(stored))
    found = made_evidence(tmp_path, captions=runs)
    _refused(CaptionChoice(20), found, "no caption run was scored at several steps")
