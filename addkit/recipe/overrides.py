"""`--set table.key=value`: a change to a recipe from the command line."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from addkit.errors import require_type
from addkit.recipe.errors import Fault, Origin, raise_if_any
from addkit.recipe.files import Layer, merge, whole_tables
from addkit.recipe.toml import KeyPath, parsed, quoted

_KEYS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_BARE_WORD = re.compile(r"[A-Za-z./~][\w./~:@+ -]*")
"""A text that may go without quotes: names of components and of timm models, and paths."""


def read_overrides(overrides: Sequence[str]) -> tuple[Layer, list[Fault]]:
    """All overrides as one layer, and what is wrong with those that cannot be read.

    They are one layer so that a key goes with a component's name, whichever is given first.
    """
    require_type("overrides", overrides, list, tuple)
    for override in overrides:
        require_type("overrides", override, str)
    faults: list[Fault] = []
    layers = [Layer({}, dict)]
    for override in overrides:
        keys, equals, text = override.partition("=")
        path = tuple(keys.strip().split("."))
        origin = Origin(f"--set {override}", is_override=True)
        try:
            if not (equals and _KEYS.fullmatch(keys.strip())):
                raise ValueError("an override is written table.key=value.")
            if path[0] == "extends":
                # By then the files are merged, and a base laid over them would win.
                raise ValueError("extends can only be written in a recipe.")
            tables: Any = _value(keys.strip(), text.strip())
        except ValueError as error:
            faults.append(Fault(origin, str(error), keys.strip()))
            continue
        for key in reversed(path):
            tables = {key: tables}
        # A value may be an inline table: every key in it gets the override as its origin.
        origins = dict.fromkeys(_leaves(tables, ()), origin)
        whole = whole_tables(tables, path) if len(path) == 1 else frozenset()
        layers.append(Layer(tables, origins.copy, whole=whole))
    return functools.reduce(merge, layers), faults


def changes_of(overrides: Sequence[str]) -> dict[str, Any]:
    """`table.key` -> value of overrides. Raises `RecipeError` if one is not written
    table.key=value.
    """
    layer, faults = read_overrides(overrides)
    raise_if_any(faults)
    values: dict[str, Any] = {}
    for path in layer.origins:
        value: Any = layer.tables
        for key in path:
            value = value[key]
        values[".".join(map(str, path))] = value
    return values


def _value(keys: str, text: str) -> Any:
    """The value after `key=`: TOML, or a bare word."""
    try:
        tables = parsed(f"value = {text}")
    except ValueError:
        tables = {}
    # A line break in the text could otherwise smuggle in more keys.
    if len(tables) == 1:
        return tables["value"]
    if _BARE_WORD.fullmatch(text):
        return text
    fix = f"--set '{keys}={quoted(text)}'"
    raise ValueError(f"{quoted(text)} is not a TOML value. For a string write {fix}.")


def _leaves(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if not isinstance(value, dict):
        yield path
        return
    for key, item in value.items():
        yield from _leaves(item, (*path, key))
