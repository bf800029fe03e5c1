from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from addkit.cli.options import BUILT_IN, list_option, split
from addkit.plugin import load_registry

app = typer.Typer(rich_markup_mode=None)


@app.command()
def show(
    names: Annotated[list[str] | None, list_option()] = None,
    steps: Annotated[list[int] | None, list_option("--steps", "-s", item=int)] = None,
    guidance: Annotated[list[float] | None, list_option(item=float)] = None,
) -> None:
    typer.echo(repr((names, steps, guidance)))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("", (None, None, None)),
        ("--steps 1,5,20", (None, [1, 5, 20], None)),
        ("--steps 1,5 -s 20", (None, [1, 5, 20], None)),
        ("--steps=1 --steps=5", (None, [1, 5], None)),
        ("--guidance 1,1.5 --guidance 2", (None, None, [1.0, 1.5, 2.0])),
        ("--names a,b --names c", (["a", "b", "c"], None, None)),
        ("--names a,,b,", (["a", "b"], None, None)),
        ("--names data.file=a,b --names c", (["data.file=a,b", "c"], None, None)),
    ],
)
def test_commas_and_repetition_mean_the_same(words: str, values: object) -> None:
    assert CliRunner().invoke(app, words.split()).output.strip() == repr(values)


@pytest.mark.parametrize(
    ("words", "option", "value", "allowed"),
    [
        (["--steps", "1,x"], "--steps", '"1,x"', "integers"),
        (["--steps", "1.5"], "--steps", '"1.5"', "integers"),
        (["--steps", ","], "--steps", '","', "integers"),
        (["--guidance", "1;2"], "--guidance", '"1;2"', "numbers"),
        (["--names", ""], "--names", '""', "names"),
    ],
)
def test_a_bad_value_is_named_with_its_option_and_what_is_allowed(
    words: list[str], option: str, value: str, allowed: str
) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert all(text in result.output for text in (option, value, allowed, "commas"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        ("a, b", ["a", "b"]),
        ("a,,b,", ["a", "b"]),
        ("", []),
        (",", []),
        ("[1,2],3", ["[1,2]", "3"]),
        ("{a=1,b=(2,3)},c", ["{a=1,b=(2,3)}", "c"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("'[',c", ["'['", "c"]),
        ("],a", ["]", "a"]),
        ("schedule.scale=1,2", ["schedule.scale=1,2"]),
    ],
)
def test_splits_at_commas_outside_brackets_and_quotes(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("kind", BUILT_IN)
def test_the_names_in_help_texts_are_the_catalogue_s(kind: str) -> None:
    registry = load_registry()
    built_in = {name for name in registry.names(kind) if not registry.get(kind, name).module}
    assert set(BUILT_IN[kind]) == built_in
