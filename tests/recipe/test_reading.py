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

BASE = """\
name = "base"
summary = "What the others extend."
seed = 1
[task]
name = "only"
[data]
name = "folder"
root = "photos"
[encoder]
name = "cnn"
[conditioner]
name = "mean-token"
[embedding]
name = "only"
[denoiser]
name = "only"
[schedule]
name = "cosine"
offset = 0.5
[loss]
name = "ce"
[to_one]
name = "only"
[sampler]
name = "only"
[read_out]
name = "only"
[training]
lr = 1e-3
"""
EXTENDS = 'extends = "base.toml"\n'

Read = Callable[..., Recipe]
Fails = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text(BASE)
    return tmp_path


@pytest.fixture
def read(folder: Path, registry: Registry) -> Read:
    def read_text(text: str = "", *overrides: str) -> Recipe:
        Path("x.toml").write_text(EXTENDS + text, "utf-8")
        return read_recipe(Path("x.toml"), overrides, registry)

    return read_text


@pytest.fixture
def fails(read: Read) -> Fails:
    def error(text: str = "", *overrides: str) -> str:
        with pytest.raises(RecipeError) as caught:
            read(text, *overrides)
        return str(caught.value)

    return error


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
def test_override_of_a_name_drops_the_files_keys_alone(read: Read, swapped: bool) -> None:
    overrides = ["schedule.steps=5", "schedule.name=cosine"]
    text = '[schedule]\nname = "linear"'
    choice = read(text, *(reversed(overrides) if swapped else overrides)).choices["schedule"]
    assert (choice.name, choice.config.steps, choice.config.offset) == ("cosine", 5, 0.008)


def test_the_last_override_wins(read: Read) -> None:
    assert read("", "loss.name=mse", "loss.name=ce").choices["loss"].name == "ce"


def test_override_reaches_into_a_nested_table(read: Read) -> None:
    config = read("[data.crop]\nsize = 3", "data.crop.flip=true").choices["data"].config
    assert (config.crop.size, config.crop.flip) == (3, True)


def test_a_validator_before_does_not_forbid_lists(read: Read) -> None:
    config = read('[data]\nname = "early"\nwidths = [1, 2]\nroot = "x"').choices["data"].config
    assert (config.widths, config.root) == ((1, 2), Path("x"))


def test_a_validator_before_lets_no_type_slip(fails: Fails) -> None:
    assert fails('[data]\nname = "early"\nwidths = [1, 2]\nroot = 3') == (
        "x.toml:5: [data] root must be a string, found 3."
    )


def test_dumped_recipe_reads_the_same(read: Read, registry: Registry) -> None:
    text = 'name = "é \\"q\\" \\u007f\\n\\\\"\n[data.crop]\nsize = 3\n[data.shares]\n"a b" = 0.5\n'
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


IN_X = [
    # Unknown keys, tables and components.
    (
        "[schedule]\nofset = 1",
        '3: [schedule] unknown key "ofset" (did you mean "offset"?). Keys: name, offset, steps.',
    ),
    ("[to_one]\nzz = 1", '3: [to_one] unknown key "zz". Keys: name.'),
    (
        "sead = 3",
        '2: unknown key "sead" (did you mean "seed"?). Keys: name, summary, seed, extends.',
    ),
    (
        "los = 3",
        '2: unknown key "los" (did you mean "loss"?). Keys: name, summary, seed, extends.',
    ),
    ("\n[los]\nname = 'mse'", '3: unknown table "los" (did you mean "loss"?)'),
    (
        "[zebra]",
        '2: unknown table "zebra". Tables: task, data, encoder, conditioner, embedding, denoiser, '
        "schedule, loss, to_one, sampler, read_out, training, augmentation, sampling, "
        "distributed, control.",
    ),
    (
        '[loss]\nname = "wieghted-ce"',
        '3: [loss] no loss is called "wieghted-ce" (did you mean "weighted-ce"?). '
        "Known: ce, focal, mse, weighted-ce.",
    ),
    ("[data]\ncrop = {size = 1, q = 2}", '3: [data] unknown key "crop.q".'),
    # Types and ranges.
    ('[training]\nepochs = "ten"', '3: [training] epochs must be a whole number, found "ten".'),
    ("[training]\nepochs = 3.0", "3: [training] epochs must be a whole number, found 3.0."),
    ("[training]\nepochs = true", "3: [training] epochs must be a whole number, found true."),
    ("[training]\nepochs = 0", "3: [training] epochs must be at least 1, found 0."),
    ("[training]\nlr = '1e-3'", '3: [training] lr must be a number, found "1e-3".'),
    ("[training]\nlr = nan", "3: [training] lr must be a finite number, found nan."),
    ("[training]\nlr = 0", "3: [training] lr must be above 0, found 0."),
    ("[training]\nema = 1", "3: [training] ema must be below 1, found 1."),
    ("[training]\npure_noise = 2", "3: [training] pure_noise must be at most 1, found 2."),
    ("[training]\nstratified = 1", "3: [training] stratified must be true or false, found 1."),
    ("[training]\nbetas = 0.9", "3: [training] betas must be a list, found 0.9."),
    ("[training]\nbetas = [0.9]", "3: [training] betas has too few items, found [0.9]."),
    (
        "[training]\nbetas = [1, 2, 3]",
        "3: [training] betas must be a list of at most 2, found [1, 2, 3].",
    ),
    ("[training]\nbetas = [0.9, 'x']", '3: [training] betas[1] must be a number, found "x".'),
    (
        "[training]\nprecision = 'bfloat'",
        '3: [training] precision must be "float32" or "bfloat16", found "bfloat" '
        '(did you mean "bfloat16"?).',
    ),
    ("[schedule]\nsteps = 7", "3: [schedule] steps must be a multiple of 5, found 7."),
    (
        "[data]\nlimit = 'some'",
        '3: [data] limit must be a whole number or "all", found "some".',
    ),
    ("[data]\nroot = 3", "3: [data] root must be a string, found 3."),
    ("[data]\ncrop = 3", "3: [data] crop must be a table, found 3."),
    ("[data]\nshares = 3", "3: [data] shares must be a table, found 3."),
    ("[data.shares]\nb = 'x'", '3: [data] shares.b must be a number, found "x".'),
    ("[data]\nlabel = ''", '3: [data] label must be a string no shorter than 1, found "".'),
    ("[data]\nlabel = 'A'", '3: [data] label must be a string that matches ^[a-z]*$, found "A".'),
    ("[data]\nlabel = 'bad'", '3: [data] label: bad is taken, found "bad".'),
    (
        "[data]\nwords = []\nlabel = 1979-05-27",
        "4: [data] label must be a string that matches ^[a-z]*$, found 1979-05-27.",
    ),
    ("seed = -1", "2: seed must be at least 0, found -1."),
    ("name = 3", "2: name must be a string, found 3."),
    # Tables and values in each other's place.
    ('loss = "mse"', '2: loss must be a table such as [loss], found "mse".'),
    ("[[loss]]", "2: loss must be a table such as [loss], found [{}]."),
    ("[seed]", "2: seed must be a whole number, found a table."),
    ("[training.epochs]", "2: [training] epochs must be a whole number, found a table."),
    # What concerns a whole table.
    ("[training]\nbase_lr = 1", "2: [training] give exactly one of lr and base_lr."),
    ("[data.crop]\nflip = true", '2: [data] missing key "crop.size".'),
    ('\n[loss]\nname = "focal"', '3: [loss] missing key "gamma". Keys: name, gamma.'),
    (
        "[loss]\nname = 3",
        "3: [loss] name must be a string, found 3. Known: ce, focal, mse, weighted-ce.",
    ),
    (
        '\n[conditioner]\nname = "class-token"',
        '4: [conditioner] it needs an encoder with a class token; encoder "cnn" has none.',
    ),
]


@pytest.mark.parametrize(("text", "error"), IN_X)
def test_error(fails: Fails, text: str, error: str) -> None:
    assert fails(text) == f"x.toml:{error}"


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
        ("training.epochs=ten", '[training] epochs must be a whole number, found "ten".'),
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
    assert fails("\n[training]\nepochs = 3", "training.base_lr=1", "training.reuse=2") == (
        "x.toml:3: [training] with --set training.base_lr=1, --set training.reuse=2: "
        "give exactly one of lr and base_lr."
    )


def test_an_override_that_lacks_a_key_of_its_component(fails: Fails) -> None:
    assert fails("", "loss.name=focal") == (
        'base.toml:20: [loss] with --set loss.name=focal: missing key "gamma". Keys: name, gamma.'
    )


def test_error_in_an_extended_file(fails: Fails, folder: Path) -> None:
    Path("base.toml").write_text(BASE.replace("offset = 0.5", "offset = 5"))
    assert fails("[schedule]\nsteps = 10") == (
        "base.toml:19: [schedule] offset must be below 1, found 5."
    )


def test_missing_tables_and_names(folder: Path, registry: Registry) -> None:
    lost = BASE.replace('[loss]\nname = "ce"\n', "").replace(
        '[schedule]\nname = "cosine"', "[schedule]"
    )
    Path("base.toml").write_text(lost)
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path("base.toml"), registry=registry)
    assert str(caught.value) == (
        "base.toml: missing table [loss]. Known: ce, focal, mse, weighted-ce.\n"
        'base.toml:17: [schedule] missing key "name". Known: cosine, linear.'
    )


def test_all_errors_at_once_in_the_order_of_lines(fails: Fails) -> None:
    text = "sead = 1\n[los]\n[training]\nepochs = 0\nema = 2\n[schedule]\nofset = 1"
    assert fails(text, "seed=-1", "nonsense").splitlines() == [
        'x.toml:2: unknown key "sead" (did you mean "seed"?). Keys: name, summary, seed, extends.',
        'x.toml:3: unknown table "los" (did you mean "loss"?)',
        "x.toml:5: [training] epochs must be at least 1, found 0.",
        "x.toml:6: [training] ema must be below 1, found 2.",
        'x.toml:8: [schedule] unknown key "ofset" (did you mean "offset"?). '
        "Keys: name, offset, steps.",
        "--set nonsense: an override is written table.key=value.",
        "--set seed=-1: seed must be at least 0, found -1.",
    ]


def test_long_values_are_shortened(fails: Fails) -> None:
    assert (
        fails(f"[training]\nepochs = '{'a' * 99}'")
        == (f'x.toml:3: [training] epochs must be a whole number, found "{"a" * 56}...') + "."
    )


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("bse.toml", 'bse.toml: no such file (did you mean "base.toml"?).'),
        ("base", 'base: no such file (did you mean "base.toml"?).'),
        ("no/where.toml", "no/where.toml: no such file (looked in {folder}/no)."),
        (".", ".: cannot be read: Is a directory."),
        ("base.toml/x", "base.toml/x: cannot be read: Not a directory."),
    ],
)
def test_unreadable_file(folder: Path, registry: Registry, path: str, error: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path(path), registry=registry)
    assert str(caught.value) == error.format(folder=folder)


@pytest.mark.parametrize(
    ("extends", "error"),
    [
        ('"bse.toml"', ':1: extends "bse.toml": no such file (did you mean "base.toml"?).'),
        ('"a\\u0000b"', ':1: extends "a\\u0000b": cannot be read: embedded null byte.'),
        ("3", ":1: extends must be a path or a list of paths, found 3."),
        (
            "['base.toml', 3]",
            ':1: extends must be a path or a list of paths, found ["base.toml", 3].',
        ),
        (
            "'x.toml'",
            ':1: extends "x.toml": files extend each other in a circle: x.toml -> x.toml.',
        ),
    ],
)
def test_bad_extends(folder: Path, registry: Registry, extends: str, error: str) -> None:
    Path("x.toml").write_text(f"extends = {extends}")
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path("x.toml"), registry=registry)
    assert str(caught.value) == f"x.toml{error}"


def test_circle(folder: Path, registry: Registry) -> None:
    Path("a.toml").write_text('extends = "b.toml"')
    Path("b.toml").write_text('\nextends = "./a.toml"')
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path("a.toml"), registry=registry)
    assert str(caught.value) == (
        'b.toml:2: extends "./a.toml": files extend each other in a circle: '
        "a.toml -> b.toml -> a.toml."
    )


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"a = 1\nb = ]", "x.toml:2:5: not valid TOML: Invalid value."),
        (
            b"[loss",
            "x.toml:1: not valid TOML: Expected ']' at the end of a table declaration "
            "(at end of document).",
        ),
        (b"a = 1\n\nb = '\xff'", "x.toml:3: not UTF-8 text."),
        (b"a = " + b"[" * 5000, "x.toml: tables or lists are nested too deeply."),
        (b"a" + b".a" * 5000 + b" = 1", "x.toml: tables or lists are nested too deeply."),
        (
            b"a = 0x1" + b"0" * 5000,
            "x.toml: not valid TOML: Exceeds the limit (4300 digits) for integer string "
            "conversion; use sys.set_int_max_str_digits() to increase the limit.",
        ),
    ],
)
def test_bad_toml(folder: Path, registry: Registry, content: bytes, error: str) -> None:
    Path("x.toml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path("x.toml"), registry=registry)
    assert str(caught.value) == error


def test_absolute_paths_are_shown_relative(folder: Path, registry: Registry) -> None:
    Path("x.toml").write_text(EXTENDS + "seed = -1")
    with pytest.raises(RecipeError) as caught:
        read_recipe(folder / "x.toml", registry=registry)
    assert str(caught.value) == "x.toml:2: seed must be at least 0, found -1."


def test_paths_elsewhere_are_shown_whole(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "x.toml").write_text("seed = ")
    monkeypatch.chdir("/")
    monkeypatch.setattr(Path, "cwd", lambda: Path("/nowhere"))
    with pytest.raises(RecipeError) as caught:
        read_recipe(folder / "x.toml", registry=registry)
    assert (
        str(caught.value)
        == f"{folder}/x.toml:1: not valid TOML: Invalid value (at end of document)."
    )


def test_tables_name_their_source(folder: Path, registry: Registry) -> None:
    tables = {**tomllib.loads(BASE), "training": {"lr": -1}}
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
