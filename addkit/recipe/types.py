"""TOML taken at its word: `"3"` and `true` are not numbers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from addkit.plugin.config import Config

C = TypeVar("C", bound=Config)

DEEPEST = 100
"""Tables or lists within each other."""


def parsed(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is not TOML, or holds a number with more digits than Python would show.
        RecursionError: it is nested too deeply.
    """
    tables = tomllib.loads(text)
    _refuse_depth(tables)
    # Hexadecimal numbers of any length can be read, but neither checked nor told of.
    json.dumps(tables, default=str)
    return tables


def _refuse_depth(tables: dict[str, Any]) -> None:
    """Not left to Python, whose limits differ between its versions and functions."""
    level: list[Any] = [tables]
    for _ in range(DEEPEST):
        values = (one.values() if isinstance(one, dict) else one for one in level)
        level = [inner for each in values for inner in each if isinstance(inner, dict | list)]
        if not level:
            return
    raise RecursionError


def validated(config: type[C], values: Mapping[str, Any]) -> C:
    """The settings as `config`, with no value turned into another type.

    Raises:
        pydantic.ValidationError: something is wrong beyond what `is_needless` tells of.
    """
    # JSON is where pydantic is strict and yet takes lists for tuples and strings for paths.
    text = json.dumps(values, default=str)
    try:
        return config.model_validate_json(text, strict=True)
    except ValidationError as error:
        if not all(map(is_needless, error.errors())):
            raise
        return config.model_validate_json(text)


def is_needless(details: Mapping[str, Any]) -> bool:
    """One of `ValidationError.errors()` that only says that a list is no tuple or set.

    It comes up behind a validator of mode "before", which makes pydantic forget that it reads JSON.
    """
    wants_other_list = details["type"] in ("tuple_type", "set_type", "frozen_set_type")
    return wants_other_list and isinstance(details["input"], list)
