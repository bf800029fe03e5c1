from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_the_list_names_shipped_and_local_recipes(addkit: Cli) -> None:
    Path("recipes").mkdir()
    Path("recipes/mine.toml").write_text("extends = 'nowhere.toml'")
    told = {row["name"]: row for row in addkit("recipes", "list", "--json").json}
    assert {"digits", "emoji", "outfits", "imagenet"} <= set(told)
    keys = {"name", "summary", "task", "data", "file", "shipped", "error"}
    assert all(set(row) == keys for row in told.values())
    digits = told["digits"]
    assert (digits["task"], digits["data"], digits["shipped"]) == ("classification", "digits", True)
    assert (told["mine"]["file"], told["mine"]["shipped"]) == ("recipes/mine.toml", False)
    assert told["mine"]["error"].startswith('recipes/mine.toml:1: extends "nowhere.toml": no such')
    said = addkit("recipes", "list")
    assert said.out.splitlines()[0].split() == ["recipe", "task", "data", "summary"]
    assert said.err == "next: addkit recipes show NAME, or addkit train NAME\n"


def test_show_prints_the_file_and_what_it_extends(addkit: Cli, recipes: Path) -> None:
    said = addkit("recipes", "show", "digits")
    assert said.out.startswith(f"# {recipes / 'digits.toml'}\n\n# 1,797 handwritten")
    assert f"\n# extends {recipes / 'base' / 'addkit.toml'}\n" in said.out
    assert "pure_noise = 0.5         # half the rows" in said.out
    told = addkit("recipes", "show", recipes / "digits.toml", "--json").json
    assert told["recipe"] == "digits"
    assert [Path(one["file"]).name for one in told["files"]] == ["digits.toml", "addkit.toml"]
    assert told["files"][0]["text"] == (recipes / "digits.toml").read_text("utf-8")


def test_show_resolved_is_a_recipe_again(addkit: Cli) -> None:
    said = addkit("recipes", "show", "digits", "--resolved")
    tables = addkit("recipes", "show", "digits", "--resolved", "--json").json
    assert tomllib.loads(said.out) == tables
    Path("again.toml").write_text(said.out, "utf-8")
    assert addkit("recipes", "diff", "digits", "again.toml").out == "the same experiment\n"
    changed = addkit("recipes", "show", "digits", "--set", "training.epochs=3", "--json").json
    assert changed["training"]["epochs"] == 3


def test_check_tells_every_problem_of_every_file(addkit: Cli) -> None:
    Path("a.toml").write_text("extends = 'b.toml'\n[training]\nepoch = 3\nema = 2")
    Path("b.toml").write_text("[loss]\nname = 'mes'")
    said = addkit("recipes", "check", "a.toml", "digits", "no.toml")
    lines = said.out.splitlines()
    assert (said.code, said.err) == (2, "")
    unknown = 'a.toml:3: [training] unknown key "epoch" (did you mean "epochs"?)'
    assert any(line.startswith(unknown) for line in lines)
    assert "a.toml:4: [training] ema must be below 1, found 2." in lines
    assert any(line.startswith('b.toml:2: [loss] no loss is called "mes"') for line in lines)
    assert "digits: sound" in lines
    assert lines[-1].startswith("no.toml: no such file")
    assert addkit("recipes", "check", "digits").code == 0


def test_check_in_json(addkit: Cli, recipes: Path) -> None:
    Path("a.toml").write_text(f"extends = '{recipes}/digits.toml'\n[loss]\nname = 'mes'")
    said = addkit("recipes", "check", "a.toml", "digits", "--json")
    assert said.code == 2
    bad, good = said.json
    assert good == {"recipe": "digits", "sound": True, "problems": []}
    (problem,) = bad["problems"]
    text = problem.pop("text")
    assert text.startswith('[loss] no loss is called "mes" (did you mean "mse"?). Known: ce,')
    assert problem == {
        "file": "a.toml",
        "line": 3,
        "key": "loss.name",
        "found": "mes",
        "allowed": "ce, mse, mse-noise, weighted-ce",
        "guess": "mse",
    }


def test_diff_by_dotted_keys(addkit: Cli) -> None:
    told = addkit("recipes", "diff", "fashion-mnist", "fashion-mnist-paper", "--json").json
    assert (told["left"], told["right"]) == ("fashion-mnist", "fashion-mnist-paper")
    found = {one["key"]: (one["left"], one["right"]) for one in told["differences"]}
    assert found["loss.name"] == ("ce", "weighted-ce")
    assert found["sampling.guidance"] == (1.0, 2.0)
    assert found["schedule.beta_max"][0] is None
    lines = addkit("recipes", "diff", "fashion-mnist", "fashion-mnist-paper").out.splitlines()
    assert lines[0].split() == ["key", "fashion-mnist", "fashion-mnist-paper"]
    assert ["loss.name", '"ce"', '"weighted-ce"'] in [line.split() for line in lines]


def test_diff_takes_runs(addkit: Cli, digits_run: Path) -> None:
    told = addkit("recipes", "diff", "digits", digits_run, "--json").json
    found = {one["key"]: (one["left"], one["right"]) for one in told["differences"]}
    assert found["training.epochs"] == (30, 2)
    assert "seed" not in found


@pytest.mark.parametrize(
    "words",
    [
        ["recipes", "show", "digts"],
        ["recipes", "show", "digts", "--resolved"],
        ["recipes", "diff", "digits", "digts"],
        ["train", "digts"],
        ["ablate", "digts", "--loss", "mse"],
    ],
)
def test_misspelt_names_are_guessed(addkit: Cli, words: list[str]) -> None:
    said = addkit(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err == 'error: digts: no such file (did you mean "digits"?).\n'


def test_train_takes_a_name(addkit: Cli) -> None:
    assert addkit("train", "digits", "--dry-run", "--json").json["steps"] > 0


def test_schema_is_json_for_editors(addkit: Cli) -> None:
    told = addkit("schema").json
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "loss.weighted-ce" in told["$defs"]
