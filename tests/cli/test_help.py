"""Help: for every command, with both words, examples before options, in groups; and guesses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer

from addkit.cli.main import app

Cli = Callable[..., Any]


def _commands(groups: bool = True) -> list[str]:
    group: Any = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():
        inner = [f"{name} {one}" for one in getattr(command, "commands", {})]
        found += [name, *inner] if groups or not inner else inner
    return found


@pytest.mark.parametrize("name", _commands())
def test_every_command_helps(addkit: Cli, name: str) -> None:
    said = addkit(*name.split(), "-h")
    assert (said.code, said.err) == (0, "")
    assert said.out == addkit(*name.split(), "--help").out
    assert said.out.startswith(f"Usage: addkit {name} ")
    assert "-h, --help" in said.out


@pytest.mark.parametrize("name", _commands(groups=False))
def test_an_example_stands_before_the_options(addkit: Cli, name: str) -> None:
    out = addkit(*name.split(), "-h").out
    assert 0 < out.find(f"\n  addkit {name}") < out.find("Options:")


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("sample", ["Inference settings:", "Given labels and side inputs:", "Output:", "Options:"]),
        ("evaluate", ["Inference settings, each combination of them:", "What else to measure:"]),
        ("ablate", ["Arguments:", "What to change:", "Options:"]),
    ],
)
def test_options_stand_in_groups(addkit: Cli, name: str, groups: list[str]) -> None:
    lines = addkit(name, "-h").out.splitlines()
    assert all(group in lines for group in groups)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    text = "\n".join(lines)
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in text


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["recipes", "lst"], "Did you mean 'list'?"),
        (["runs", "comapre"], "Did you mean 'compare'?"),
        (["sample", "x.png", "--stpes", "3"], "--steps"),
        (["evaluate", "--read-uot", "x"], "--read-out"),
    ],
)
def test_misspelt_words_are_guessed(addkit: Cli, words: list[str], guess: str) -> None:
    said = addkit(*words)
    assert (said.code, said.out) == (2, "")
    assert guess in said.err
