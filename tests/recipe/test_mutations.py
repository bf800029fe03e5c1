"""Recipes after random damage: each is read, or refused with the place of what is wrong.

ADDKIT_MUTATIONS=5000 in the environment tries so many.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.recipe import dump_recipe, read_recipe
from addkit.recipe.errors import FaultyRecipeError
from addkit.recipe.files import shipped_folder

COUNT = int(os.environ.get("ADDKIT_MUTATIONS", "300"))
PARTS = 4
"""Of the mutations, a test each."""

VALUES = (
    *('""', "''", '"x"', "-1", "0", "1", "1e400", "-0.0", "nan", "-inf", "true", "[]", "{}"),
    *("[[]]", "[1, 'a']", "{name = 'ce'}", "{a = {b = {c = 1}}}", "1979-05-27", "07:32:00"),
    *("1979-05-27T07:32:00Z", "0xff", "9" * 400, "0x1" + "0" * 5000, '"\\u0000"', '"\\ud800"'),
    *('"é∑😀"', '"""a\nb"""', "'''\n'''", "[" * 200 + "]" * 200, "auto", "", "1_000", "+3"),
    *("[1,", "{a", '"open', "1 2", "= 3", "# none"),
)
KEYS = (
    "name",
    "",
    "a b",
    '"a.b"',
    "''",
    "x.y.z",
    "name.name",
    "loss.name",
    "epochs",
    "é",
    "-",
    "1",
)
HEADS = ("[loss]", "[[loss]]", "[loss.name]", "[a.b.c]", "[]", "[", "[training", '["x y"]', "[1]")
NOISE = "\x00\x07\x7f\t\r\n\"'[]{}=,.#\\é\u2028\ud7ff\ufeff 0_-"

Lines = list[str]


def replace_value(lines: Lines, at: int, dice: random.Random) -> Lines:
    key, _, _ = lines[at].partition("=")
    return [*lines[:at], f"{key}= {dice.choice(VALUES)}", *lines[at + 1 :]]


def replace_key(lines: Lines, at: int, dice: random.Random) -> Lines:
    _, equals, value = lines[at].partition("=")
    return [*lines[:at], f"{dice.choice(KEYS)} {equals}{value}", *lines[at + 1 :]]


def add_line(lines: Lines, at: int, dice: random.Random) -> Lines:
    new = dice.choice((f"{dice.choice(KEYS)} = {dice.choice(VALUES)}", dice.choice(HEADS)))
    return [*lines[:at], new, *lines[at:]]


def delete_line(lines: Lines, at: int, dice: random.Random) -> Lines:
    return [*lines[:at], *lines[at + 1 :]]


def double_line(lines: Lines, at: int, dice: random.Random) -> Lines:
    return [*lines[: at + 1], *lines[at:]]


def move_line(lines: Lines, at: int, dice: random.Random) -> Lines:
    rest = delete_line(lines, at, dice)
    to = dice.randrange(len(rest) + 1)
    return [*rest[:to], lines[at], *rest[to:]]


def cut_short(lines: Lines, at: int, dice: random.Random) -> Lines:
    return [*lines[:at], lines[at][: dice.randrange(len(lines[at]) + 1)]]


def change_letter(lines: Lines, at: int, dice: random.Random) -> Lines:
    line = lines[at]
    place = dice.randrange(len(line) + 1)
    changed = line[:place] + dice.choice(NOISE) + line[place + dice.randrange(2) :]
    return [*lines[:at], changed, *lines[at + 1 :]]


WAYS: tuple[Callable[[Lines, int, random.Random], Lines], ...] = (
    *(replace_value, replace_key, add_line, delete_line, double_line, move_line, cut_short),
    change_letter,
)


def mutated(text: str, dice: random.Random) -> bytes:
    lines = text.splitlines()
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        lines = dice.choice(WAYS)(lines or [""], dice.randrange(len(lines) or 1), dice)
    found = "\n".join(lines).encode("utf-8", "surrogatepass")
    if dice.random() < 0.05:
        place = dice.randrange(len(found) + 1)
        found = found[:place] + dice.randbytes(2) + found[place:]
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_no_damage_makes_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shipped_folder(), "recipes")
    files = sorted(Path("recipes").glob("*.toml"))
    dice = random.Random(part)
    refused = 0
    for _ in range(COUNT // PARTS):
        recipe = dice.choice(files)
        broken = dice.choice((recipe, recipe, dice.choice(sorted(Path("recipes").rglob("*.toml")))))
        sound = broken.read_bytes()
        broken.write_bytes(mutated(sound.decode("utf-8"), dice))
        refused += not is_sound(recipe, broken)
        broken.write_bytes(sound)
    assert COUNT // PARTS // 4 < refused < COUNT // PARTS


def is_sound(recipe: Path, broken: Path) -> bool:
    try:
        dump_recipe(read_recipe(recipe))
    except FaultyRecipeError as error:
        assert error.faults
        for fault in error.faults:
            assert Path(fault.origin.place).is_file(), broken.read_bytes()
            lines = Path(fault.origin.place).read_bytes().count(b"\n") + 1
            assert 0 <= fault.origin.line <= lines, broken.read_bytes()
        return False
    return True
