from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.runs import Run
from addkit.runs.folder import read_json

Cli = Callable[..., Any]


@pytest.fixture
def run(digits_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run, tmp_path / "run"))


def test_json_has_the_agreed_keys(addkit: Cli, run: Path) -> None:
    words = ["--steps", "1,3", "--guidance", "1,2", "--read-out", "last,one-pass"]
    result = addkit("evaluate", "--run", run, "--json", *words)
    assert result.code == 0
    assert result.err.endswith(f"stored: {run}/evaluation.json\n")
    evaluation = result.json
    assert len(evaluation["results"]) == 6
    agreed = {"model_name", "steps", "guidance", "to_one", "sampler", "read_out", "chains"}
    scores = {"top1", "top5", "balanced", "macro_f1", "nll", "brier", "ece", "count"}
    for row in evaluation["results"]:
        assert agreed | scores <= set(row)
        assert row["count"] == 539
        assert 0 <= row["top1"] <= row["top5"] <= 100
        assert 0 <= row["brier"] <= 2
        assert 0 <= row["ece"] <= 100
        assert math.isfinite(row["nll"])
    order = [(row["read_out"], row["guidance"], row["steps"]) for row in evaluation["results"]]
    assert order == [
        *(("last", 1, 1), ("last", 1, 3), ("last", 2, 1), ("last", 2, 3)),
        *(("one-pass", 1, 1), ("one-pass", 2, 1)),
    ]
    # A class that one setting predicts is not one that the model never predicts.
    never = set.intersection(*(set(row["never_predicted"]) for row in evaluation["results"]))
    assert ("warning: ADD never " in result.err) == bool(never)
    audit = evaluation["audit"]
    assert {"first_step", "last_step", "shuffled_state", "no_image", "control"} <= set(audit)
    assert audit["steps"] == 20
    assert audit["no_image"] < 16 < audit["last_step"]
    assert audit["answer"].startswith("The network ")
    assert [row["model_name"] for row in evaluation["controls"]] == [
        "control, linear",
        "control, mlp",
    ]
    assert evaluation["units"]["top1"] == "%"
    assert audit["control"] == evaluation["controls"][0]["top1"]
    assert read_json(run / "evaluation.json") == evaluation


def test_the_recipes_own_settings_give_the_scores_of_the_training(addkit: Cli, run: Path) -> None:
    evaluation = addkit("evaluate", "--run", run, "--json").json
    (row,) = evaluation["results"]
    stored = Run(run).manifest().scores["ema"]
    assert {key: row[key] for key in stored} == pytest.approx(stored)
    control = Run(run).control("mlp").manifest().scores["ema"]
    assert {key: evaluation["controls"][1][key] for key in control} == pytest.approx(control)
    raw = addkit("evaluate", "--run", run, "--json", "--weights", "raw", "--no-audit").json
    assert raw["audit"] is None
    assert raw["results"][0]["nll"] == pytest.approx(Run(run).manifest().scores["raw"]["nll"])


def test_a_read_out_of_one_pass_has_no_steps(addkit: Cli, run: Path) -> None:
    words = ["--read-out", "one-pass", "--steps", "1,5,9", "--no-audit", "--json"]
    rows = addkit("evaluate", "--run", run, *words).json["results"]
    assert [(row["steps"], row["sampler"], row["to_one"]) for row in rows] == [(1, None, None)]


def test_samplers_to_ones_and_chains(addkit: Cli, run: Path) -> None:
    words = ["--sampler", "renoise,ddim,gibbs", "--to-one", "argmax, softmax", "--steps", "2"]
    words += ["--read-out", "vote", "--chains", "3", "--no-audit", "--json"]
    rows = addkit("evaluate", "--run", run, *words).json["results"]
    assert [(row["sampler"], row["to_one"]) for row in rows] == [
        *(("renoise", "argmax"), ("renoise", "softmax"), ("ddim", "argmax"), ("ddim", "softmax")),
        ("gibbs", "sample"),
    ]
    assert {row["chains"] for row in rows} == {3}


def test_the_seed_and_the_split(addkit: Cli, run: Path) -> None:
    words = ["evaluate", "--run", run, "--json", "--no-audit", "--read-out", "last"]
    words += ["--steps", "3"]
    one = addkit(*words).json["results"][0]
    assert addkit(*words).json["results"][0] == one
    assert addkit(*words, "--seed", "1").json["results"][0] != one
    train = addkit(*words, "--split", "train").json
    assert (train["split"], train["results"][0]["count"]) == ("train", 1258)


def test_a_table_for_people(addkit: Cli, run: Path) -> None:
    result = addkit("evaluate", "--run", run, "--read-out", "one-pass,last", "--steps", "2")
    lines = result.out.splitlines()
    headings = ["model", "read-out", "sampler", "to-one", "steps", "w", "chains", "top-1", "%"]
    assert lines[0].split()[:9] == headings
    names = ["ADD", "ADD", "control, linear", "control, mlp"]
    assert [line.split("  ")[0] for line in lines[1:5]] == names
    assert ["one pass" in line for line in lines[1:3]] == [True, False]
    assert any(line.startswith("y_t shuffled between images") for line in lines)
    assert lines[-1].startswith("The network ")


def test_without_being_asked_nothing_is_compared(addkit: Cli, run: Path) -> None:
    evaluation = addkit("evaluate", "--run", run, "--json", "--no-audit").json
    assert (evaluation["uncertainty"], evaluation["early_exit"]) == (None, [])


def test_uncertainty_has_the_agreed_keys(addkit: Cli, run: Path) -> None:
    words = ["--uncertainty", "--chains", "3", "--steps", "2", "--no-audit"]
    result = addkit("evaluate", "--run", run, "--json", *words)
    evaluation = result.json["uncertainty"]
    assert read_json(run / "evaluation.json")["uncertainty"] == evaluation
    assert set(evaluation) == {"chains", "steps", "temperature_from", "rows", "comparisons"}
    assert (evaluation["chains"], evaluation["steps"]) == (3, 2)
    scores = {"confidence", "scaled", "top1", "ece", "ece_low", "ece_high", "nll", "brier", "aurc"}
    scores |= {"aurc_low", "aurc_high", "risk80", "set_size", "set_coverage", "count"}
    scores |= {"temperatures", "reliability", "risk_coverage"}
    for row in evaluation["rows"]:
        assert set(row) == scores
        assert set(row["reliability"][0]) == {"count", "confidence", "accuracy"}
        assert [set(point) for point in row["risk_coverage"]] == [{"coverage", "risk"}] * 20
    plain = {row["confidence"]: row for row in evaluation["rows"] if not row["scaled"]}
    assert plain["one-pass"]["ece"] == pytest.approx(result.json["results"][0]["ece"], rel=1e-4)
    mlp = result.json["controls"][1]
    assert plain["control, mlp"]["nll"] == pytest.approx(mlp["nll"], rel=1e-4)
    difference = {"against", "scaled", "score", "difference", "low", "high", "n", "verdict"}
    assert [set(row) for row in evaluation["comparisons"]] == [difference] * 12


def test_confidences_as_a_table(addkit: Cli, run: Path) -> None:
    words = ["--uncertainty", "--chains", "3", "--steps", "2", "--no-audit"]
    lines = addkit("evaluate", "--run", run, *words).out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("confidence"))
    assert [line.split("  ")[0] for line in lines[start + 1 : start + 12]] == [
        *(
            "one-pass",
            "one-pass, scaled",
            "mean over chains",
            "mean over chains, scaled",
            "vote share",
        ),
        *("votes, smoothed", "votes, smoothed, scaled", "control, linear"),
        *("control, linear, scaled", "control, mlp", "control, mlp, scaled"),
    ]
    assert all(part in lines[start + 12] for part in ("3 chains of 2 steps", "the other half"))
    assert lines[start + 15].startswith("vote share minus")
    assert len(lines) == start + 22


def test_one_early_exit_is_part_of_each_result(addkit: Cli, run: Path) -> None:
    words = ["--read-out", "last", "--steps", "9", "--no-audit", "--json"]
    evaluation = addkit("evaluate", "--run", run, *words, "--early-exit", "1").json
    assert [row["early_exit"] for row in evaluation["early_exit"]] == [0, 1]
    assert evaluation["results"][0]["top1"] == evaluation["early_exit"][1]["value"]
    assert evaluation["early_exit"][1]["mean_steps"] == 1


def test_several_early_exits_are_a_curve(addkit: Cli, run: Path) -> None:
    words = ["--read-out", "last", "--steps", "9", "--no-audit", "--early-exit", "0,1,2,3"]
    evaluation = addkit("evaluate", "--run", run, *words, "--json").json
    rows = evaluation["early_exit"]
    agreed = {"early_exit", "metric", "value", "mean_steps", "saved", "difference", "low", "high"}
    assert [set(row) for row in rows] == [agreed] * 4
    assert [row["early_exit"] for row in rows] == [0, 1, 2, 3]
    assert sorted(row["mean_steps"] for row in rows[1:]) == [r["mean_steps"] for r in rows[1:]]
    assert evaluation["results"][0]["top1"] == rows[0]["value"]
    lines = addkit("evaluate", "--run", run, *words).out.splitlines()[-5:]
    assert lines[0].split()[:3] == ["unchanged", "for", "steps"]
    assert [line.split()[0] for line in lines[1:]] == ["whole", "1", "2", "3"]
    assert lines[1].count("#") == 30
    assert lines[2].count("#") == 3


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--split", "tset"], 1, ('"tset"', "train, test", "data.validation")),
        (["--steps", "1,two"], 2, ("--steps", '"1,two"', "integers")),
        (["--steps", "0"], 2, ("steps", "0", "at least 1")),
        (["--steps", "1", "--uncertainty"], 2, ("--uncertainty", "--early-exit", "--steps")),
        (["--early-exit=0,-1"], 2, ("early_exit", "-1", "at least 0")),
        (["--early-exit", "often"], 2, ("--early-exit", '"often"', "integers")),
        (["--guidance=-1"], 2, ("guidance", "-1.0", "at least 0")),
        (["--weights", "best"], 2, ('"best"', "ema, raw")),
        (["--read-out", "last,one-pas"], 2, ('"one-pas"', '"one-pass"', "consensus, last")),
        (["--set", "training.epochs=3"], 2, ("--set", "training.epochs=3", "data.KEY=VALUE")),
        (["--set", "data.rot=x"], 2, ("--set data.rot=x", '"rot"', "image_size")),
    ],
)
def test_invalid_options_are_named_with_what_is_allowed(
    addkit: Cli, run: Path, words: list[str], code: int, parts: tuple[str, ...]
) -> None:
    result = addkit("evaluate", "--run", run, "--json", *words)
    assert (result.code, result.out) == (code, "")
    assert all(part in result.err for part in parts), result.err
    assert not (run / "evaluation.json").exists()


def test_a_checkpoint_is_scored_and_stores_nothing(addkit: Cli, run: Path) -> None:
    checkpoint = run / "checkpoints" / "step-00000038"
    result = addkit("evaluate", "--run", checkpoint, "--json", "--no-audit")
    assert result.code == 0
    assert "stored:" not in result.err
    assert result.json["controls"] == []
    assert not list(run.rglob("evaluation.json"))


def test_the_newest_finished_run_is_scored(addkit: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "mine")
    result = addkit("evaluate", "--json", "--no-audit")
    first, *_, last = result.err.splitlines()
    assert first == "run: runs/mine (the newest finished one; --run names another)"
    assert last == "stored: runs/mine/evaluation.json"
    assert result.json["run"] == "runs/mine"
