from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import RunError
from addkit.evaluation.results import (
    SCORES,
    SETTING_HEADINGS,
    SETTINGS,
    Audit,
    CaptionRow,
    ClipMeans,
    Comparison,
    ConfidenceRow,
    Evaluation,
    ExitRow,
    Risk,
    Score,
    ScoreRow,
    Uncertainty,
    legend,
    never_predicted_line,
    present,
    wilson,
)
from addkit.metrics.uncertainty import Bin
from addkit.plugin.values import InferenceSettings


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (50, 100, 0.4038, 0.5962), (9, 9, 0.7008, 1.0)],
)
def test_wilsons_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right / count, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", [1, 3, 539, 10**6])
def test_wilsons_interval_covers_the_share(count: int) -> None:
    for right in {0, 1, count // 2, count - 1, count}:
        low, high = wilson(right / count, count)
        assert 0 <= low <= right / count <= high <= 1


def test_shares_and_percents_have_one_unit() -> None:
    exact, top1, nll = map(Score.named, ("exact_match", "top1", "nll"))
    assert (exact.in_unit(0.25), top1.in_unit(25.0)) == (25.0, 25.0)
    assert exact.interval(0.5, 100) == top1.interval(50.0, 100)
    assert nll.interval(0.5, 100) is None
    assert top1.interval(50.0, None) is None
    assert (exact.one_image(50), top1.one_image(50), nll.one_image(50)) == (0.02, 2.0, 0.02)


@pytest.mark.parametrize(
    ("name", "heading", "short"),
    [
        ("top1", "top-1, %", "top-1 %"),
        ("exact_match", "exact match, %", "exact %"),
        ("nll", "NLL, nats", "NLL"),
        ("bleu4", "BLEU-4", "B-4"),
        ("my_own", "my own", "my own"),
    ],
)
def test_headings_name_the_unit(name: str, heading: str, short: str) -> None:
    score = Score.named(name)
    assert (score.heading, score.short_heading) == (heading, short)
    assert score.axis("test") == f"{heading} (test split)"


@pytest.mark.parametrize(
    ("name", "value", "text", "difference"),
    [
        ("exact_match", 0.86, "86.00", "+86.00"),
        ("top1", 86.0, "86.00", "+86.00"),
        ("nll", 0.5, "0.5000", "+0.5000"),
        ("count", 1200, "1,200", "+1,200"),
        ("my_own", -0.5, "-0.5000", "-0.5000"),
        ("top1", None, "-", "-"),
    ],
)
def test_cells_are_in_the_unit(name: str, value: float | None, text: str, difference: str) -> None:
    assert Score.named(name).text(value) == text
    assert Score.named(name).text(value, "+") == difference


def test_every_score_has_its_own_name_and_titles() -> None:
    for values in ([s.name for s in SCORES], [s.title for s in SCORES]):
        assert len(set(values)) == len(values)
    short = [score.short_heading for score in SCORES]
    assert len(set(short)) == len(short)


def test_the_legend_explains_what_needs_it() -> None:
    assert legend(map(Score.named, ["top1", "nll", "count"])) == ""
    text = legend(map(Score.named, ["exact_match", "bleu4", "consistency"]))
    assert text.startswith("exact %: ")
    assert "consistent %: " in text
    assert "B-4" not in text


def test_a_score_without_a_value_in_any_row_is_not_present() -> None:
    rows = [{"top1": 1.0, "meteor": None}, {"top1": 2.0, "mine": 3.0}]
    assert [score.name for score in present(rows)] == ["top1", "mine"]


SETTING = InferenceSettings(
    read_out="last",
    sampler="ddim",
    to_one="argmax",
    steps=3,
    guidance=1.5,
    chains=2,
)


def _evaluation() -> Evaluation:
    row = ScoreRow("ADD", SETTING, {"exact_match": 0.5, "mine": 2.0, "meteor": None})
    interval = {"low": 0.1, "high": 0.3}
    clip = ClipMeans(clip_cosine=0.2, clip_score=0.5, ref_clip_score=None, **interval)
    confidence = {"ece": 1.0, "ece_low": 0.5, "ece_high": 1.5, "nll": 0.1, "brier": 0.2}
    confidence |= {"aurc": 0.1, "aurc_low": 0.0, "aurc_high": 0.2, "risk80": 0.0, "top1": 99.0}
    return Evaluation(
        run="runs/a",
        split="test",
        weights="ema",
        results=[row],
        controls=[ScoreRow("control, mlp", SETTING, {"exact_match": 0.4})],
        audit=Audit(
            first_step=1.0,
            last_step=2.0,
            shuffled_state=1.0,
            no_image=0.5,
            control=None,
            steps=20,
            uses_state=True,
            uses_state_points=1.0,
            uses_state_interval=0.5,
            helps=None,
            helps_points=1.0,
            helps_interval=2.0,
            answer="...",
        ),
        table3=[
            CaptionRow(name="ground truth", clip=None, scores={"count": 3}),
            CaptionRow(name="ADD", clip=clip, scores={"bleu4": 0.5}, share=0.9),
        ],
        clip="ViT",
        uncertainty=Uncertainty(
            10,
            20,
            "the validation split",
            [
                ConfidenceRow(
                    confidence="last",
                    scaled=True,
                    **confidence,
                    set_size=1.0,
                    set_coverage=99.0,
                    count=100,
                    temperatures=[1.5],
                    reliability=[Bin(1, 0.5, 1.0)],
                    risk_coverage=[Risk(0.5, 1.0)],
                )
            ],
            [
                Comparison(
                    against="last",
                    scaled=True,
                    score="ece",
                    difference=0.1,
                    n=100,
                    verdict="better",
                    **interval,
                )
            ],
        ),
        early_exit=[
            ExitRow(
                early_exit=3,
                metric="top1",
                value=99.0,
                mean_steps=4.5,
                saved=0.5,
                difference=0.2,
                **interval,
            )
        ],
    )


def test_what_is_stored_is_read_back() -> None:
    evaluation = _evaluation()
    assert Evaluation.from_data(evaluation.data()) == evaluation


@pytest.mark.parametrize(
    "change",
    [
        {"results": [{"way": "one pass", "top1": 90.0}]},
        {"audit": {"first_step": 90.0}},
        {"results": [["ADD", 90.0]]},
        {"early_exit": [{"steps": 3}]},
    ],
)
def test_an_evaluation_of_an_earlier_version_names_the_command(change: dict[str, Any]) -> None:
    stored = {**_evaluation().data(), **change}
    with pytest.raises(RunError) as raised:
        Evaluation.from_data(stored)
    assert f"`addkit evaluate --run {stored['run']}`" in str(raised.value)
    with pytest.raises(RunError, match=r"a-run.evaluation\.json.* earlier addkit") as raised:
        Evaluation.from_data({"run": "moved"}, Path("a-run"))
    assert "\n" not in str(raised.value)
    assert "`addkit evaluate --run a-run`" in str(raised.value)


def test_json_rows_are_flat_and_units_are_named_once() -> None:
    data = _evaluation().data()
    (row,) = data["results"]
    assert (row["model_name"], row["steps"], row["exact_match"]) == ("ADD", 3, 0.5)
    assert data["units"] == {"exact_match": "share", "mine": "", "meteor": ""}
    assert data["table3"][0]["clip_cosine"] is None


def test_a_class_counts_as_never_predicted_if_no_setting_predicts_it() -> None:
    rows = [ScoreRow("ADD", SETTING, {}, names) for names in (("cup", "hat"), ("hat", "boat"))]
    control = ScoreRow("control, mlp", SETTING, {}, ())
    evaluation = replace(_evaluation(), results=rows, controls=[control])
    assert evaluation.never_predicted() == {"ADD": ["hat"]}
    assert Evaluation.from_data(evaluation.data()) == evaluation
    line = never_predicted_line("ADD", "test", [f"class{k}" for k in range(9)])
    assert "ADD never predicts 9 " in line
    assert "class4" in line
    assert "class5" not in line


def test_the_settings_of_a_row_are_all_stored() -> None:
    assert tuple(each.name for each in fields(InferenceSettings)) == SETTINGS


def test_one_pass_has_no_sampler_in_a_table() -> None:
    one_pass = replace(SETTING, read_out="one-pass", sampler=None, to_one=None, steps=1, chains=1)
    row = ScoreRow("ADD", one_pass, {})
    assert row.setting_cells() == ["one-pass", "-", "-", "one pass", "1.5", "1"]
    assert len(SETTING_HEADINGS) == len(row.setting_cells())


def test_results_load_without_torch() -> None:
    code = "import sys, addkit.evaluation.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
