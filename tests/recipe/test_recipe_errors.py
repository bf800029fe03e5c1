from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.errors import RecipeError
from addkit.plugin import Registry
from addkit.plugin.registry import ELSEWHERE
from addkit.recipe import read_recipe

EXTENDS = 'extends = "base.toml"\n'

Fails = Callable[..., str]

IN_X = [
    # Unknown keys, tables and components.
    (
        "[schedule]\nofset = 1",
        '3: [schedule] unknown key "ofset" (did you mean "offset"?). Keys: name, offset, steps.',
    ),
    ("[to_one]\nzz = 1", '3: [to_one] unknown key "zz". Keys: name.'),
    (
        "sead = 3",
        '2: unknown key "sead" (did you mean "seed"?). '
        "Keys: name, summary, seed, requires, extends.",
    ),
    (
        "los = 3",
        '2: unknown key "los" (did you mean "loss"?). '
        "Keys: name, summary, seed, requires, extends.",
    ),
    ("\n[los]\nname = 'mse'", '3: unknown table "los" (did you mean "loss"?)'),
    (
        "[zebra]",
        '2: unknown table "zebra". Tables: task, tokenizer, data, encoder, conditioner, process, '
        "embedding, denoiser, schedule, timesteps, loss, to_one, sampler, read_out, tracker, "
        "training, features, augmentation, sampling, checkpoints, distributed, control, ablation.",
    ),
    (
        '[loss]\nname = "wieghted-ce"',
        '3: [loss] no loss is called "wieghted-ce" (did you mean "weighted-ce"?). '
        "Known: ce, focal, mse, weighted-ce.",
    ),
    ("[data]\ncrop = {size = 1, q = 2}", '3: [data] unknown key "crop.q".'),
    # Types and ranges.
    ('[training]\nreuse = "ten"', '3: [training] reuse must be a whole number, found "ten".'),
    ("[training]\nreuse = 3.0", "3: [training] reuse must be a whole number, found 3.0."),
    ("[training]\nreuse = true", "3: [training] reuse must be a whole number, found true."),
    ("[training]\nreuse = 0", "3: [training] reuse must be at least 1, found 0."),
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
    ("[training.reuse]", "2: [training] reuse must be a whole number, found a table."),
    # What concerns a whole table.
    ("[training]\nlr = 1\nbase_lr = 1", "2: [training] give exactly one of lr and base_lr."),
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


def test_error_in_an_extended_file(fails: Fails, folder: Path) -> None:
    base = Path("base.toml")
    base.write_text(base.read_text().replace("offset = 0.5", "offset = 5"))
    assert fails("[schedule]\nsteps = 10") == (
        "base.toml:19: [schedule] offset must be below 1, found 5."
    )


def test_missing_tables_and_names(folder: Path, registry: Registry) -> None:
    lost = (
        Path("base.toml")
        .read_text()
        .replace('[loss]\nname = "ce"\n', "")
        .replace('[schedule]\nname = "cosine"', "[schedule]")
    )
    Path("base.toml").write_text(lost)
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path("base.toml"), registry=registry)
    assert str(caught.value) == (
        "base.toml: missing table [loss]. Known: ce, focal, mse, weighted-ce.\n"
        'base.toml:17: [schedule] missing key "name". Known: cosine, linear.'
    )


def test_a_table_that_may_be_left_out_needs_its_name(fails: Fails) -> None:
    assert fails("[process]\nweight = 1") == (
        'x.toml:2: [process] missing key "name". Known: gaussian, masked.'
    )


def test_a_default_that_nobody_provides_hides_no_other_error(
    folder: Path, registry: Registry
) -> None:
    kept = {key: found for key, found in registry.components.items() if key[0] != "process"}
    Path("x.toml").write_text(EXTENDS + "seed = -1")
    with pytest.raises(RecipeError) as caught:
        read_recipe(Path("x.toml"), registry=Registry(kept))
    assert str(caught.value) == (
        'x.toml: [process] no process is called "gaussian". Known: none. '
        f"{ELSEWHERE}\n"
        "x.toml:2: seed must be at least 0, found -1."
    )


def test_all_errors_at_once_in_the_order_of_lines(fails: Fails) -> None:
    text = "sead = 1\n[los]\n[training]\nreuse = 0\nema = 2\n[schedule]\nofset = 1"
    assert fails(text, "seed=-1", "nonsense").splitlines() == [
        'x.toml:2: unknown key "sead" (did you mean "seed"?). '
        "Keys: name, summary, seed, requires, extends.",
        'x.toml:3: unknown table "los" (did you mean "loss"?)',
        "x.toml:5: [training] reuse must be at least 1, found 0.",
        "x.toml:6: [training] ema must be below 1, found 2.",
        'x.toml:8: [schedule] unknown key "ofset" (did you mean "offset"?). '
        "Keys: name, offset, steps.",
        "--set nonsense: an override is written table.key=value.",
        "--set seed=-1: seed must be at least 0, found -1.",
    ]


def test_long_values_are_shortened(fails: Fails) -> None:
    assert (
        fails(f"[training]\nreuse = '{'a' * 99}'")
        == (f'x.toml:3: [training] reuse must be a whole number, found "{"a" * 56}...') + "."
    )


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("bse.toml", 'bse.toml: no such file (did you mean "base.toml"?).'),
        ("base", 'base: no such file (did you mean "base.toml"?).'),
        ("no/where.toml", "no/where.toml: no such file (looked in {folder}/no)."),
        (".", ".: a folder, not a recipe's file; its recipes: base.toml."),
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
        (b"a" + b".a" * 101 + b" = 1", "x.toml: tables or lists are nested too deeply."),
        (b"a" + b".a" * 5_000 + b" = 1", "x.toml: tables or lists are nested too deeply."),
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


def test_lines_are_counted_as_editors_do(folder: Path, registry: Registry) -> None:
    Path("x.toml").write_text("# a\u2028b\nname = 'x", "utf-8")
    with pytest.raises(RecipeError, match=r"^x\.toml:2: not valid TOML: "):
        read_recipe(Path("x.toml"), registry=registry)
