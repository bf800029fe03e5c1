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


def test_check_takes_changes(addkit: Cli) -> None:
    assert addkit("recipes", "check", "digits", "--set", "training.epochs=2").code == 0
    said = addkit("recipes", "check", "digits", "emoji", "--set", "training.epoch=2", "--json")
    assert said.code == 2
    for one in said.json:
        (problem,) = one["problems"]
        assert problem["file"] == "--set training.epoch=2"
        assert problem["guess"] == "epochs"


@pytest.mark.parametrize(
    ("word", "guessed"),
    [
        ("digts", "digits"),
        ("digts.toml", "digits"),
        ("recipe/digts.toml", "digits"),
        ("some/min.toml", "mine.toml"),
        ("runs/digits-20", "digits-2026"),
    ],
)
def test_check_guesses_names_and_files(addkit: Cli, word: str, guessed: str) -> None:
    Path("some").mkdir()
    Path("some/mine.toml").touch()
    Path("runs/digits-2026").mkdir(parents=True)
    Path("runs/digits-2026/recipe.toml").touch()
    said = addkit("recipes", "check", word)
    assert said.code == 2
    assert said.out == f'{word}: no such file (did you mean "{guessed}"?).\n'


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_folder_is_no_recipe(addkit: Cli, command: str) -> None:
    Path("run").mkdir()
    Path("run/recipe.toml").touch()
    Path("none").mkdir()
    Path("some").mkdir()
    for name in "abcdefghij":
        Path(f"some/{name}.toml").touch()
    for folder, more in (
        ("./run", "; the recipe of this run is run/recipe.toml"),
        ("none", " (no .toml in it)"),
        ("some", f"; its recipes: {', '.join(f'{name}.toml' for name in 'abcdefgh')}, ..."),
    ):
        said = addkit("recipes", command, folder)
        assert said.code == 2
        told = f"{Path(folder)}: a folder, not a recipe's file{more}.\n"
        assert (said.out + said.err).removeprefix("error: ") == told


def test_a_link_that_leads_nowhere(addkit: Cli) -> None:
    Path("gone.toml").symlink_to("nowhere.toml")
    said = addkit("recipes", "show", "gone.toml")
    assert said.err == "error: gone.toml: no such file (a link that leads nowhere).\n"


def test_a_folder_does_not_hide_a_known_recipe(addkit: Cli) -> None:
    Path("digits").mkdir()
    assert addkit("recipes", "check", "digits").out == "digits: sound\n"


def test_check_in_json(addkit: Cli, recipes: Path) -> None:
    Path("a.toml").write_text(f"extends = '{recipes}/digits.toml'\n[loss]\nname = 'mes'")
    said = addkit("recipes", "check", "a.toml", "digits", "--json")
    assert said.code == 2
    bad, good = said.json
    assert good == {"recipe": "digits", "sound": True, "problems": []}
    (problem,) = bad["problems"]
    text = problem.pop("text")
    assert text.startswith(
        '[loss] no loss is called "mes" (did you mean "mse"?). Known: asymmetric,'
    )
    assert problem == {
        "file": "a.toml",
        "line": 3,
        "key": "loss.name",
        "found": "mes",
        "allowed": "asymmetric, ce, mse, mse-noise, weighted-ce",
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
