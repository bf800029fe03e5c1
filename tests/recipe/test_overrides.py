from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import AddkitWarning, RecipeError
from addkit.plugin import Registry
from addkit.recipe import Recipe, read_recipe, recipe_from_tables

Read = Callable[..., Recipe]
Fails = Callable[..., str]


@pytest.mark.parametrize(
    ("override", "table", "key", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("training.lr = 1", "training", "lr", 1.0),
        ("training.stratified=false", "training", "stratified", False),
        ("training.betas=[0.1, 0.2]", "training", "betas", (0.1, 0.2)),
        ("training.precision=bfloat16", "training", "precision", "bfloat16"),
        ('training.precision="bfloat16"', "training", "precision", "bfloat16"),
        ("training={lr = 0.5}", "training", "lr", 0.5),
        ("augmentation.rand_augment=rand-m9-mstd0.5", "augmentation", "rand_augment", None),
    ],
)
def test_override(read: Read, override: str, table: str, key: str, value: object) -> None:
    expected = override.partition("=")[2] if value is None else value
    assert getattr(getattr(read("", override), table), key) == expected


def test_override_at_the_top(read: Read) -> None:
    recipe = read("", "seed=3", "name=other")
    assert (recipe.seed, recipe.name) == (3, "other")


@pytest.mark.parametrize("swapped", [False, True])
def test_an_override_of_a_name_keeps_every_key_that_the_component_has(
    read: Read, swapped: bool
) -> None:
    overrides = ["schedule.steps=5", "schedule.name=cosine"]
    text = '[schedule]\nname = "linear"'
    choice = read(text, *(reversed(overrides) if swapped else overrides)).choices["schedule"]
    # The base wrote the offset for the cosine, which is the component again.
    assert (choice.name, choice.config.steps, choice.config.offset) == ("cosine", 5, 0.5)


def test_keys_that_the_new_component_lacks_are_dropped_in_one_line(read: Read) -> None:
    with pytest.warns(AddkitWarning, match=r'^\[schedule\] "linear" has no offset, .*"cosine"'):
        recipe = read("", "schedule.name=linear")
    assert recipe.choices["schedule"].name == "linear"
    assert list(recipe.dropped) == ["schedule"]
    assert "offset" not in recipe.written["schedule"]
    # A file's own table is in sight: no warning.
    assert list(read('[schedule]\nname = "linear"').dropped) == ["schedule"]


@pytest.mark.parametrize("in_file", [False, True])
def test_a_table_written_as_one_value_takes_the_components_defaults(
    read: Read, in_file: bool
) -> None:
    table = 'schedule = {name = "cosine"}'
    recipe = read(table) if in_file else read("", table.replace(" = {", "={"))
    assert recipe.choices["schedule"].config.offset == 0.008
    assert recipe.dropped == {}


def test_the_last_override_wins(read: Read) -> None:
    assert read("", "loss.name=mse", "loss.name=ce").choices["loss"].name == "ce"


def test_override_reaches_into_a_nested_table(read: Read) -> None:
    config = read("[data.crop]\nsize = 3", "data.crop.flip=true").choices["data"].config
    assert (config.crop.size, config.crop.flip) == (3, True)


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("los.name=mse", 'unknown table "los" (did you mean "loss"?)'),
        ("loss.nme=mse", '[loss] unknown key "nme" (did you mean "name"?). Keys: name.'),
        (
            "loss.name=msee",
            '[loss] no loss is called "msee" (did you mean "mse"?). '
            "Known: ce, focal, mse, weighted-ce.",
        ),
        ("training.reuse=ten", '[training] reuse must be a whole number, found "ten".'),
        ("training.stratified=True", '[training] stratified must be true or false, found "True".'),
        ("loss=mse", 'loss must be a table such as [loss], found "mse".'),
        ("seed=-1", "seed must be at least 0, found -1."),
        (
            "training.lr=1e",
            '"1e" is not a TOML value. For a string write --set \'training.lr="1e"\'.',
        ),
        ("name=", '"" is not a TOML value. For a string write --set \'name=""\'.'),
        (
            "seed=3\n[loss]",
            '"3\\n[loss]" is not a TOML value. For a string write --set \'seed="3\\n[loss]"\'.',
        ),
        ("seed", "an override is written table.key=value."),
        ("=3", "an override is written table.key=value."),
        ("loss..name=mse", "an override is written table.key=value."),
        ("extends=base", "extends can only be written in a recipe."),
    ],
)
def test_error_in_an_override(fails: Fails, override: str, error: str) -> None:
    assert fails("", override) == f"--set {override}: {error}"


def test_an_override_is_named_where_a_whole_table_is_wrong(fails: Fails) -> None:
    assert fails("\n[training]\nepochs = 3", "training={lr=1, base_lr=2}", "training.reuse=2") == (
        "x.toml:3: [training] with --set training={lr=1, base_lr=2}, --set training.reuse=2: "
        "give exactly one of lr and base_lr."
    )


def test_an_override_that_lacks_a_key_of_its_component(fails: Fails) -> None:
    assert fails("", "loss.name=focal") == (
        'base.toml:20: [loss] with --set loss.name=focal: missing key "gamma". Keys: name, gamma.'
    )


@pytest.mark.parametrize(
    "text", ["/a/b", "photos/x", "./x", "../x", "~/x", "photos", "my photos/a-b_1.0", "a:b@c+d"]
)
def test_paths_go_without_quotes(read: Read, text: str) -> None:
    assert read("", f"data.root={text}").choices["data"].config.root == Path(text)


@pytest.mark.parametrize("text", ["3photos", "/a,b", "/a=b", 'a"b', "/a\nb", "[x", "/a#b"])
def test_what_could_be_a_slip_wants_quotes(fails: Fails, text: str) -> None:
    error = fails("", f"data.root={text}")
    assert error.startswith(f"--set data.root={text}: ")
    assert "is not a TOML value. For a string write --set 'data.root=\"" in error


def test_a_quoted_path_needs_no_rule(read: Read) -> None:
    assert read("", 'data.root="3 #,="').choices["data"].config.root == Path("3 #,=")


def test_a_later_learning_rate_overrides_its_rival(read: Read) -> None:
    by_file = read("[training]\nbase_lr = 0.5").training
    by_override = read("", "training.base_lr=0.5").training
    assert by_file == by_override
    assert (by_file.lr, by_file.base_lr) == (None, 0.5)


def test_the_last_of_rival_overrides_wins(read: Read) -> None:
    training = read("", "training.base_lr=1", "training.lr=2", "training.reuse=2").training
    assert (training.lr, training.base_lr, training.reuse) == (2, None, 2)


def test_of_rival_bases_the_later_wins(folder: Path, registry: Registry) -> None:
    Path("late.toml").write_text("[training]\nbase_lr = 2.0")
    Path("x.toml").write_text('extends = ["base.toml", "late.toml"]')
    training = read_recipe(Path("x.toml"), registry=registry).training
    assert (training.lr, training.base_lr) == (None, 2.0)
    Path("x.toml").write_text('extends = ["late.toml", "base.toml"]')
    training = read_recipe(Path("x.toml"), registry=registry).training
    assert (training.lr, training.base_lr) == (1e-3, None)


def test_rivals_in_one_place_clash(fails: Fails) -> None:
    assert fails("[training]\nlr = 1\nbase_lr = 2") == (
        "x.toml:2: [training] give exactly one of lr and base_lr."
    )


@pytest.fixture
def tables(folder: Path) -> dict[str, Any]:
    """Those of a resolved recipe."""
    return tomllib.loads(Path("base.toml").read_text())


def test_tables_can_be_overridden(tables: dict[str, Any], registry: Registry) -> None:
    before = str(tables)
    recipe = recipe_from_tables(
        tables,
        Path("r.toml"),
        registry,
        overrides=["data.root=/new/place", "training.base_lr=1", "schedule.name=linear"],
    )
    assert list(recipe.dropped) == ["schedule"]
    assert recipe.choices["data"].config.root == Path("/new/place")
    assert (recipe.training.lr, recipe.training.base_lr) == (None, 1)
    assert recipe.choices["schedule"].name == "linear"
    assert recipe.source == Path("r.toml")
    assert str(tables) == before


def test_overrides_of_tables_are_checked(tables: dict[str, Any], registry: Registry) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from_tables(
            tables, Path("r.toml"), registry, overrides=["data.rot=x", "loss", "seed=-1"]
        )
    assert str(caught.value).splitlines() == [
        '--set data.rot=x: [data] unknown key "rot" (did you mean "root"?). '
        "Keys: name, root, mean, words, limit, crop, shares, label.",
        "--set loss: an override is written table.key=value.",
        "--set seed=-1: seed must be at least 0, found -1.",
    ]
