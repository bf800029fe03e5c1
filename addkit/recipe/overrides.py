"""Changes to a recipe: `--set table.key=value` of the command line, and arguments in Python."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from addkit.errors import require_type
from addkit.recipe.errors import Fault, Origin, raise_if_any
from addkit.recipe.files import Layer, merge, whole_tables
from addkit.recipe.toml import KeyPath, parsed, quoted

_KEYS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_BARE_WORD = re.compile(r"[A-Za-z./~][\w./~:@+ -]*")
"""A text that may go without quotes: names of components and of timm models, and paths."""


@dataclass(frozen=True, slots=True)
class Override:
    """A change to a recipe from an argument of a Python function."""

    key: str
    """Dotted, such as `training.lr`; a table's own name for several of its keys."""
    value: Any
    argument: str = "overrides"
    """Named by errors."""


Overrides: TypeAlias = "Mapping[str, Any] | Sequence[str | Override]"
"""Values by dotted key, tables nested or not, or `table.key=value` texts as after `--set`."""


def listed_overrides(overrides: Overrides) -> list[str | Override]:
    """The overrides one by one. Raises `UsageError` for a wrong type."""
    if isinstance(overrides, Mapping):
        for key in overrides:
            require_type("a key of overrides", key, str)
        return [Override(key, value) for key, value in overrides.items()]
    require_type("overrides", overrides, list, tuple, Mapping)
    for override in overrides:
        require_type("overrides", override, str, Override)
    return list(overrides)


def read_overrides(overrides: Overrides) -> tuple[Layer, list[Fault]]:
    """All overrides as one layer, and what is wrong with those that cannot be read.

    They are one layer so that a key goes with a component's name, whichever is given first.
    """
    faults: list[Fault] = []
    layers = [Layer({}, dict)]
    for override in listed_overrides(overrides):
        if isinstance(override, Override):
            keys, equals, place = override.key, "=", f"argument {override.argument}"
        else:
            keys, equals, text = override.partition("=")
            keys, place = keys.strip(), f"--set {override}"
        path, origin = tuple(keys.split(".")), Origin(place, is_override=True)
        try:
            if not (equals and _KEYS.fullmatch(keys)):
                raise ValueError("an override is written table.key=value.")
            if path[0] == "extends":
                # By then the files are merged, and a base laid over them would win.
                raise ValueError("extends can only be written in a recipe.")
            tables: Any = (
                _plain(override.value, keys)
                if isinstance(override, Override)
                else _value(keys, text.strip())
            )
        except ValueError as error:
            faults.append(Fault(origin, str(error), keys))
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


def _plain(value: Any, keys: str) -> Any:
    """A Python value as TOML has it."""
    # Numbers of numpy and of tensors without dimensions count as Python's.
    if getattr(value, "shape", None) == ():
        value = value.item()
    match value:
        case bool() | int() | float() | str():
            return value
        case Path():
            return str(value)
        case list() | tuple():
            return [_plain(item, f"{keys}[{index}]") for index, item in enumerate(value)]
        case Mapping():
            for key in value:
                if not (isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_-]+", key)):
                    raise ValueError(f"{keys}: {key!r} is no key of a table.")
            return {key: _plain(item, f"{keys}.{key}") for key, item in value.items()}
        case None:
            raise ValueError(f"{keys} is None, which no recipe has; leave the key out.")
    allowed = "a text, a path, a number, True or False, or a list or dict of them"
    raise ValueError(f"{keys} must be {allowed}, found a value of type {type(value).__name__}.")


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
