"""`--no-plugins`, `--no-plugin NAME` and `--plugin-file FILE`, before a command or after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NONE, WITHOUT, FILE = "--no-plugins", "--no-plugin", "--plugin-file"


def choose(none: bool, without: list[str] | None, files: list[Path] | None) -> None:
    """Have this process, and those that it starts, load these plugins."""
    if none or without or files:
        from addkit.plugin.selection import select

        select(none=none, without=without or [], files=files or [])


NoPlugins = Annotated[
    bool,
    typer.Option(
        NONE,
        is_eager=True,
        callback=lambda none: choose(none, None, None),
        help="Load no installed plugin. Goes with every command.",
    ),
]
NoPlugin = Annotated[
    list[str] | None,
    typer.Option(
        WITHOUT,
        metavar="NAME",
        is_eager=True,
        callback=lambda names: choose(False, names, None),
        help="Load all but this one; may be repeated.",
    ),
]
PluginFile = Annotated[
    list[Path] | None,
    typer.Option(
        FILE,
        metavar="FILE",
        is_eager=True,
        callback=lambda files: choose(False, None, files),
        help="Load this Python file as one; may be repeated.",
    ),
]
# Eager: they are read before all others, since a plugin may add the command itself and lines to
# --help.


def plugins_first(words: list[str]) -> list[str]:
    """Move these options to the front, where they are the root's; users may give them anywhere."""
    end = words.index("--") if "--" in words else len(words)
    front: list[str] = []
    rest: list[str] = []
    before = iter(words[:end])
    for word in before:
        name, equals, _ = word.partition("=")
        if word == NONE or (equals and name in (WITHOUT, FILE)):
            front.append(word)
        elif word in (WITHOUT, FILE):
            # Without a value behind it: typer's own error about that follows.
            front += [word, *(value for value in [next(before, None)] if value is not None)]
        else:
            rest.append(word)
    return [*front, *rest, *words[end:]]
