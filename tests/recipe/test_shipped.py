from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from addkit.errors import RecipeError
from addkit.recipe import read_recipe
from addkit.recipe.files import known_recipes, named, shipped


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_bare_name_is_a_shipped_recipe() -> None:
    assert named("digits") == shipped("digits")
    assert read_recipe(Path("digits")).name == "digits"
    assert read_recipe(Path("digits"), ["seed=3"]).seed == 3


def test_a_recipe_below_here_hides_a_shipped_one() -> None:
    Path("recipes").mkdir()
    Path("recipes/digits.toml").write_text(f"extends = '{shipped('digits')}'\nseed = 7")
    Path("recipes/mine.toml").write_text("extends = 'digits.toml'")
    assert known_recipes()["mine"] == Path("recipes/mine.toml")
    assert read_recipe(Path("mine")).seed == 7
    assert list(known_recipes()) == sorted(known_recipes())


@pytest.mark.parametrize("word", ["x.toml", "./digits", "a/b", "."])
def test_what_looks_like_a_path_is_one(word: str) -> None:
    assert named(word) == Path(word)


def test_a_file_without_an_ending_is_a_file() -> None:
    Path("digits").write_text("seed = -1")
    assert named("digits") == Path("digits")


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("digts", 'digts: no such file (did you mean "digits"?).'),
        ("zebra", "zebra: no such file, and no recipe of this name. Known: ablation, attribute-"),
        (
            "recipes/digits.toml",
            'recipes/digits.toml: no such file (did you mean "digits"?).',
        ),
    ],
)
def test_misspelt(word: str, error: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path(word))
    assert str(caught.value).startswith(error)


def test_names_are_found_without_pydantic() -> None:
    code = (
        "import sys; from addkit.recipe.files import known_recipes; assert known_recipes();"
        "print({'pydantic', 'torch'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("change", ["data.sampling=balanced", "loss.class_weights=0.5"])
def test_only_classes_of_single_labels_are_balanced(recipes: Path, change: str) -> None:
    read_recipe(recipes / "digits.toml", [change])
    for several in ("outfits", "emoji"):
        with pytest.raises(RecipeError, match=change.split("=")[0].split(".")[1]):
            read_recipe(recipes / f"{several}.toml", [change])
