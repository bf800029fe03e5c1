from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from addkit.cli.several import SeveralCommand, is_recipe, pieces, spread

SEVERAL = {"--loss", "--scale", "-l"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--loss a b c", "--loss a --loss b --loss c"),
        ("--loss a --loss b", "--loss a --loss b"),
        ("--loss a,b", "--loss a --loss b"),
        ("--loss=a,b", "--loss a --loss b"),
        ("--loss=a b", "--loss a --loss b"),
        ("-l a b", "-l a -l b"),
        ("x --loss a b --json y", "x --loss a --loss b --json y"),
        ("--loss a --scale 1 2 --jobs 2 y", "--loss a --scale 1 --scale 2 --jobs 2 y"),
        ("--loss a b r.toml", "--loss a --loss b r.toml"),
        ("--loss a r.toml b", "--loss a r.toml --loss b"),
        ("--loss a -- b,c", "--loss a -- b,c"),
        ("--loss", "--loss"),
        ("--jobs a,b", "--jobs a,b"),
        ("--scale -1 -.5 2", "--scale -1 --scale -.5 --scale 2"),
        ("--loss a -x b", "--loss a -x b"),
        ("--loss a -", "--loss a --loss -"),
        ("--loss k=1 data.file=r.toml", "--loss k=1 --loss data.file=r.toml"),
    ],
)
def test_spreads_values(given: str, told: str) -> None:
    assert spread(given.split(), SEVERAL) == told.split()


@pytest.mark.parametrize(
    ("word", "is_one"),
    [
        *(("digits", True), ("fashion-mnist", True), ("a.toml", True), ("k=a.toml", False)),
        *(("mse", False), ("nothing", False), ("1", False)),
    ],
)
def test_a_known_recipe_s_name_is_the_command_s_own(word: str, is_one: bool) -> None:
    assert is_recipe(word) == is_one


def test_a_recipe_that_has_a_component_s_name_is_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    for name in ("mse", "mine"):
        (tmp_path / "recipes" / f"{name}.toml").touch()
    assert (is_recipe("mse"), is_recipe("mine")) == (False, True)


def test_an_option_without_a_value_takes_the_next_word_whatever_it_is() -> None:
    """As click does, so that it is refused with click's own words."""
    assert spread(["--loss", "r.toml"], SEVERAL) == ["--loss", "r.toml"]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("a", ["a"]),
        ("a, b", ["a", "b"]),
        ("a,,b,", ["a", "b"]),
        ("", [""]),
        (",", [","]),
        ("[1,2],3", ["[1,2]", "3"]),
        ("{a=1,b=(2,3)},c", ["{a=1,b=(2,3)}", "c"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("'[',c", ["'['", "c"]),
        ("],a", ["]", "a"]),
        ("schedule.scale=1,2", ["schedule.scale=1,2"]),
    ],
)
def test_cuts_at_commas_outside_brackets_and_quotes(word: str, found: list[str]) -> None:
    assert pieces(word) == found


def test_a_command_takes_several_values() -> None:
    app = typer.Typer(rich_markup_mode=None)

    @app.command(cls=SeveralCommand)
    def show(
        names: Annotated[list[str] | None, typer.Argument()] = None,
        scale: Annotated[list[float] | None, typer.Option("--scale", "-s")] = None,
        classes: int = 10,
        flag: bool = False,
    ) -> None:
        typer.echo(repr((names, scale, classes, flag)))

    def call(words: str) -> str:
        return CliRunner().invoke(app, words.split()).output.strip()

    assert call("a b --scale 1 2 --flag") == "(['a', 'b'], [1.0, 2.0], 10, True)"
    assert call("--classes 5 -s 1,2 r.toml") == "(['r.toml'], [1.0, 2.0], 5, False)"
    assert call("a") in ("(['a'], None, 10, False)", "(['a'], [], 10, False)")
    assert "Invalid value for '--scale'" in call("--scale 1 x")
