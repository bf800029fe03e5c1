from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.cli.run_summary import path_keys
from addkit.runs.folder import read_json

Cli = Callable[..., Any]


@pytest.fixture
def two_runs(tmp_path: Path, digits_run: Path) -> list[Path]:
    """runs/a and runs/b, the younger with another loss and another torch."""
    found = [Path(shutil.copytree(digits_run, tmp_path / "runs" / name)) for name in "ab"]
    recipe, manifest = found[1] / "recipe.toml", found[1] / "manifest.json"
    text = recipe.read_text().replace('[loss]\nname = "ce"', '[loss]\nname = "weighted-ce"')
    # Without its checksum, which it does not fit any more.
    recipe.write_text(text.partition("\n")[2])
    stored = read_json(manifest)
    stored["environment"]["packages"]["torch"] = "9.9"
    stored["scores"]["ema"]["top1"] += 1
    manifest.write_text(json.dumps(stored))
    for age, run in enumerate(reversed(found)):
        os.utime(run / "manifest.json", (1.7e9 - age, 1.7e9 - age))
    return found


def test_list_is_newest_first(addkit: Cli, two_runs: list[Path]) -> None:
    told = addkit("runs", "list", "--json").json
    assert [row["run"] for row in told] == ["runs/b", "runs/a"]
    keys = {"run", "recipe", "status", "headline", "score", "controls", "steps", "age_seconds"}
    assert all(set(row) == keys | {"broken"} for row in told)
    newest = told[0]
    assert (newest["recipe"], newest["status"], newest["headline"]) == (
        "digits",
        "finished",
        "top1",
    )
    assert set(newest["controls"]) == {"linear", "mlp"}
    assert newest["score"] == pytest.approx(told[1]["score"] + 1)
    assert newest["age_seconds"] > 0
    said = addkit("runs", "list")
    assert said.out.splitlines()[0].split()[:3] == ["run", "recipe", "status"]
    assert said.out.splitlines()[1].startswith("runs/b")
    assert said.err.startswith("next: addkit runs show RUN")


BROKEN = [
    ("recipe.toml", None, "not a run (it has no recipe.toml)"),
    ("recipe.toml", "name = ", "recipe.toml: cannot be read"),
    ("manifest.json", "{", "manifest.json: cannot be read"),
    ("manifest.json", "[]", "manifest.json: not a JSON object"),
    ("manifest.json", '{"scores": 3}', "manifest.json: cannot be used: scores"),
    ("manifest.json", '{"scores": {"ema": [1]}}', "manifest.json: cannot be used: scores.ema"),
    ("manifest.json", '{"plan": null}', "manifest.json: cannot be used: plan"),
    ("controls/mlp/manifest.json", "?", "manifest.json: cannot be read"),
]


@pytest.mark.parametrize(("file", "text", "reason"), BROKEN)
def test_broken_runs_are_listed_as_broken(
    addkit: Cli, two_runs: list[Path], file: str, text: str | None, reason: str
) -> None:
    broken = two_runs[0] / file
    if text is None:
        broken.unlink()
    else:
        broken.write_text(text)
    told = {row["run"]: row for row in addkit("runs", "list", "--json").json}
    assert told["runs/a"]["status"] == "broken"
    assert reason in told["runs/a"]["broken"]
    assert told["runs/b"]["broken"] is None
    said = addkit("runs", "list")
    assert said.code == 0
    assert reason in said.out
    for words in (["show", "runs/a"], ["compare", "runs/b", "runs/a"]):
        said = addkit("runs", *words)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("error: runs/a")
        assert "fault of addkit" not in said.err


def test_an_empty_list(addkit: Cli) -> None:
    Path("runs/notes").mkdir(parents=True)
    assert addkit("runs", "list", "--json").json == []
    said = addkit("runs", "list")
    assert (said.out, said.err) == (
        "",
        "no run in runs/; train one with `addkit train RECIPE`\n",
    )
    assert addkit("runs", "list", "--root", "elsewhere", "--json").json == []


def test_a_root_that_is_not_there(addkit: Cli) -> None:
    said = addkit("runs", "list", "--root", "nope")
    assert said.err == "no such folder: nope/; train one with `addkit train RECIPE`\n"


def test_what_is_no_run(addkit: Cli) -> None:
    Path("notes.txt").touch()
    more = "; `addkit runs list` lists those in runs/\n"
    said = addkit("runs", "show", "notes.txt")
    assert said.err.startswith("error: notes.txt: a file, not a run's folder; ")
    assert addkit("runs", "show", "x").err == f"error: x: no such run folder{more}"


def test_show(addkit: Cli, two_runs: list[Path]) -> None:
    told = addkit("runs", "show", "runs/a", "--json").json
    assert told["facts"]["splits"]["test"] > 0
    assert told["parameters"]["total"] > 0
    assert told["components"]["loss"].startswith("ce (addkit ")
    assert told["environment"]["packages"]["torch"]
    assert set(told["scores"]) >= {"ADD, ema", "control, linear, ema", "control, mlp, ema"}
    assert told["files"]["recipe.toml"] == (two_runs[0] / "recipe.toml").stat().st_size
    assert all(size > 0 for size in told["checkpoints"].values())
    assert told["next"][0] == "addkit evaluate --run runs/a"
    assert addkit("runs", "show", "a", "--json").json["run"] == "runs/a"
    said = addkit("runs", "show", "a")
    assert "plan.steps" in said.out
    assert "next: addkit report runs/a\n" in said.err


def test_an_unfinished_run_can_go_on(addkit: Cli, two_runs: list[Path]) -> None:
    manifest = two_runs[0] / "manifest.json"
    manifest.write_text(json.dumps({"status": "running"}))
    told = addkit("runs", "show", "a", "--json").json
    assert told["next"] == ["addkit train runs/a --resume"]
    assert told["status"] == "stopped"
    assert not any(name.startswith("ADD") for name in told["scores"])
    assert addkit("runs", "show", "a").code == 0


def test_misspelt_runs_are_guessed(addkit: Cli, two_runs: list[Path]) -> None:
    two_runs[0].rename("runs/digits-one")
    said = addkit("runs", "show", "digits-on")
    assert (said.code, said.err) == (
        1,
        'error: digits-on: no such run folder (did you mean "digits-one"?)\n',
    )
    for words in (["runs", "show"], ["report"], ["plot", "losses", "-o", "x.svg"]):
        assert 'did you mean "digits-one"?' in addkit(*words, "runs/digits-on").err
    said = addkit("evaluate", "--run", "digits-on")
    assert said.err == 'error: digits-on: no such run folder (did you mean "digits-one"?)\n'


def test_compare(addkit: Cli, two_runs: list[Path]) -> None:
    told = addkit("runs", "compare", "a", "runs/b", "--json").json
    assert [run["run"] for run in told["runs"]] == ["runs/a", "runs/b"]
    scores = {row["score"]: row for row in told["scores"]}
    assert scores["top1"]["differences"] == [0, pytest.approx(1)]
    assert told["recipe"] == [{"key": "loss.name", "values": ["ce", "weighted-ce"]}]
    assert [row["key"] for row in told["environment"]] == ["packages.torch"]
    assert told["environment"][0]["values"][1] == "9.9"
    assert told["file"] is None
    lines = addkit("runs", "compare", "a", "b").out.splitlines()
    assert lines[0].split() == ["score", "a", "b", "difference"]
    assert lines[1].split()[-1] == "+1.00"
    assert any(line.split() == ["loss.name", '"ce"', '"weighted-ce"'] for line in lines)
    assert "environment: the same" in addkit("runs", "compare", "a", "a").out


@pytest.fixture
def other_data(two_runs: list[Path]) -> list[Path]:
    """The same, b with another test split."""
    recipe, facts = two_runs[1] / "recipe.toml", two_runs[1] / "facts.json"
    recipe.write_text(recipe.read_text().replace("test_share = 0.3", "test_share = 0.2"))
    stored = json.loads(facts.read_text())
    stored["split_sizes"]["test"] = 360
    facts.write_text(json.dumps(stored))
    return two_runs


def test_scores_on_other_data_are_not_subtracted(addkit: Cli, other_data: list[Path]) -> None:
    told = addkit("runs", "compare", "a", "b", "a", "--json").json
    scores = {row["score"]: row for row in told["scores"]}
    assert None not in scores["top1"]["values"]
    assert scores["top1"]["differences"] == [0, None, 0]
    rows = {row["key"]: row["values"] for row in told["data"]}
    assert rows["data.test_share"] == [0.3, 0.2, 0.3]
    assert rows["facts.test_images"][1] == 360
    lines = addkit("runs", "compare", "a", "b").out.splitlines()
    assert lines[0].split() == ["score", "a", "b"]
    said = "The data differ: scores on other images or labels are not subtracted from each other."
    assert said in lines
    assert ["data.test_share", "0.3", "0.2"] in [line.split() for line in lines]
    addkit("runs", "compare", "a", "b", "-o", "page.html")
    page = Path("page.html").read_text("utf-8")
    assert said in page
    assert "b minus a" not in page


def test_the_same_data_at_another_size_and_place(addkit: Cli, two_runs: list[Path]) -> None:
    recipe = two_runs[1] / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("image_size = 8", "image_size = 16"))
    told = addkit("runs", "compare", "a", "b", "--json").json
    assert told["data"] == []
    assert "data.image_size" in [row["key"] for row in told["recipe"]]
    assert path_keys({"name": "image-folder"}) == {"root"}
    assert path_keys({"name": "gone"}) == {"root", "file"}


def test_compare_needs_two(addkit: Cli, two_runs: list[Path]) -> None:
    said = addkit("runs", "compare", "a")
    assert (said.code, said.err) == (
        2,
        "error: compare two runs or more; `addkit runs show` shows one\n",
    )


def test_a_page_of_the_comparison(addkit: Cli, two_runs: list[Path]) -> None:
    said = addkit("runs", "compare", "a", "b", "-o", "page.html")
    assert said.err == "page: page.html\n"
    page = Path("page.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "<title>Runs a and b" in page
    assert "Recipe <code>digits</code>. Differences are from the first run, <code>a</code>" in page
    assert "several" not in page
    for part in ("scores", "accuracy", "losses", "recipe", "environment"):
        assert f'<section id="{part}"' in page
    assert ">difference<" in page
    assert page.count("<svg") == 2
    assert addkit("runs", "compare", "a", "b", "--json", "-o", "p.html").json["file"] == "p.html"
    bad = addkit("runs", "compare", "a", "b", "-o", "page.pdf")
    assert (bad.code, bad.out) == (2, "")
    assert 'ending ".pdf"' in bad.err


def test_a_part_without_differences_says_so(addkit: Cli, two_runs: list[Path]) -> None:
    addkit("runs", "compare", "a", "a", "-o", "page.html")
    assert "nothing differs in the recipes" in Path("page.html").read_text("utf-8")
