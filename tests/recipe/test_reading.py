from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.errors import RecipeError
from addkit.plugin import KINDS, Registry
from addkit.recipe import Recipe, dump_recipe, read_recipe, recipe_from_tables

EXTENDS = 'extends = "base.toml"\n'

Read = Callable[..., Recipe]
Fails = Callable[..., str]


def test_a_whole_recipe(folder: Path, registry: Registry) -> None:
    recipe = read_recipe(Path("base.toml"), registry=registry)
    assert (recipe.name, recipe.summary, recipe.seed) == ("base", "What the others extend.", 1)
    assert list(recipe.choices) == [kind.kind for kind in KINDS]
    assert recipe.choices["schedule"].name == "cosine"
    assert recipe.choices["schedule"].config.offset == 0.5
    assert recipe.choices["data"].config.root == Path("photos")
    assert recipe.training.lr == 1e-3
    assert recipe.sampling.steps == 20
    assert recipe.files == (Path("base.toml"),)


def test_tables_that_may_be_left_out(read: Read) -> None:
    defaults = {kind.kind: kind.default for kind in KINDS if kind.default is not None}
    wanted = {"tokenizer": "none", "process": "gaussian", "timesteps": "power", "tracker": "none"}
    assert defaults == wanted
    assert {kind: read().choices[kind].name for kind in defaults} == defaults
    assert read('[process]\nname = "masked"').choices["process"].name == "masked"
    assert read("", "tokenizer.name=words").choices["tokenizer"].name == "words"


def test_a_default_is_written_down(read: Read) -> None:
    tables = read().tables()
    assert tables["tokenizer"] == {"name": "none"}
    assert '\n[process]\nname = "gaussian"\n' in dump_recipe(read())


def test_extends_merges_but_leaves_name_and_summary_behind(read: Read) -> None:
    recipe = read("[training]\nepochs = 3")
    assert (recipe.training.epochs, recipe.training.lr) == (3, 1e-3)
    assert (recipe.name, recipe.summary, recipe.seed) == ("x", "", 1)
    assert recipe.files == (Path("x.toml"), Path("base.toml"))


@pytest.mark.parametrize("table", ["steps = 15", 'name = "cosine"\nsteps = 15'])
def test_the_same_component_keeps_inherited_keys(read: Read, table: str) -> None:
    assert read(f"[schedule]\n{table}").choices["schedule"].config.offset == 0.5


def test_another_component_drops_inherited_keys(read: Read) -> None:
    assert read('[schedule]\nname = "linear"').choices["schedule"].name == "linear"


def test_of_several_bases_the_later_wins(folder: Path, registry: Registry) -> None:
    Path("late.toml").write_text("[training]\nlr = 2.0\n[schedule]\nsteps = 5")
    Path("x.toml").write_text('extends = ["base.toml", "late.toml"]')
    recipe = read_recipe(Path("x.toml"), registry=registry)
    assert recipe.training.lr == 2.0
    assert recipe.choices["schedule"].config.steps == 5
    assert recipe.files == (Path("x.toml"), Path("late.toml"), Path("base.toml"))


def test_extends_is_relative_to_its_file(folder: Path, registry: Registry) -> None:
    Path("deep/er").mkdir(parents=True)
    Path("deep/middle.toml").write_text('extends = "../base.toml"')
    Path("deep/er/x.toml").write_text('extends = "../middle.toml"')
    assert read_recipe(Path("deep/er/x.toml"), registry=registry).name == "x"


def test_two_ways_to_one_base_are_no_circle(folder: Path, registry: Registry) -> None:
    for name in ("left", "right"):
        Path(f"{name}.toml").write_text(EXTENDS)
    Path("x.toml").write_text('extends = ["left.toml", "right.toml"]')
    recipe = read_recipe(Path("x.toml"), registry=registry)
    assert [path.name for path in recipe.files] == [
        "x.toml",
        "right.toml",
        "base.toml",
        "left.toml",
    ]


def test_a_validator_before_does_not_forbid_lists(read: Read) -> None:
    config = read('[data]\nname = "early"\nwidths = [1, 2]\nroot = "x"').choices["data"].config
    assert (config.widths, config.root) == ((1, 2), Path("x"))


def test_a_validator_before_lets_no_type_slip(fails: Fails) -> None:
    assert fails('[data]\nname = "early"\nwidths = [1, 2]\nroot = 3') == (
        "x.toml:5: [data] root must be a string, found 3."
    )


def test_dumped_recipe_reads_the_same(read: Read, registry: Registry) -> None:
    text = 'name = "é (q)"\n'
    text += 'summary = "é \\"q\\" \\u007f\\n\\\\"\n'
    text += '[data.crop]\nsize = 3\n[data.shares]\n"a b" = 0.5\n'
    recipe = read(text + "[training]\nlr = 1e-7\nbetas = [0, 0.5]\n[control]\nheads = []")
    dumped = dump_recipe(recipe)
    again = recipe_from_tables(tomllib.loads(dumped), Path("x.toml"), registry)
    assert again.tables() == recipe.tables()
    assert again.choices == recipe.choices
    assert again.files == (Path("x.toml"),)
    assert dump_recipe(again) == dumped


def test_dumped_text(read: Read) -> None:
    dumped = dump_recipe(read("[data]\ncrop = {size = 3}"))
    assert dumped.startswith('name = "x"\nsummary = ""\nseed = 1\n\n[task]\nname = "only"\n')
    assert '\n\n[data]\nname = "folder"\nroot = "photos"\nmean = [0.5, 0.5]\n' in dumped
    assert "\ncrop = {size = 3, flip = false}\n" in dumped


def test_tables_name_their_source(folder: Path, registry: Registry) -> None:
    tables = {**tomllib.loads(Path("base.toml").read_text()), "training": {"lr": -1}}
    with pytest.raises(RecipeError) as caught:
        recipe_from_tables(tables, Path("runs/1/recipe.toml"), registry)
    assert str(caught.value) == "runs/1/recipe.toml: [training] lr must be above 0, found -1."


def test_tables_extend_nothing(folder: Path, registry: Registry) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from_tables(tomllib.loads(EXTENDS), Path("r.toml"), registry)
    assert str(caught.value) == "r.toml: a resolved recipe extends nothing."


def test_a_byte_order_mark_is_let_pass(folder: Path, registry: Registry) -> None:
    Path("x.toml").write_text(EXTENDS, "utf-8-sig")
    assert read_recipe(Path("x.toml"), registry=registry).seed == 1


def test_importing_recipes_is_light() -> None:
    code = "import sys, addkit.recipe; print({'torch', 'timm', 'torchvision'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_a_recipe_extends_one_whose_component_lacks_keys_of_its_own_base(
    recipes: Path, tmp_path: Path
) -> None:
    """`image-folder` replaces the denoiser of its base, which has keys that its own lacks."""
    file = tmp_path / "own.toml"
    file.write_text('extends = "image-folder"\n[data]\nroot = "photos"\n')
    assert (
        read_recipe(file).choices["denoiser"]
        == (read_recipe(recipes / "image-folder.toml").choices["denoiser"])
    )
