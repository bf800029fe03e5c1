"""What is wrong with a recipe, in sentences that say what was found and what is allowed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from addkit.errors import RecipeError
from addkit.plugin.guess import guess
from addkit.recipe.layers import Origin
from addkit.recipe.lines import KeyPath
from addkit.recipe.strict import is_needless
from addkit.recipe.writing import quoted, shortened

__all__ = ["Fault", "explained", "raise_if_any", "unknown_key"]

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "frozen_set_type": "a list",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a table",
    "multiple_of": "a multiple of {multiple_of}",
    "path_type": "a string",
    "set_type": "a list",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "string_too_long": "a string no longer than {max_length}",
    "string_too_short": "a string no shorter than {min_length}",
    "string_type": "a string",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}
"""pydantic's type of error -> what must be there instead, with fields of the error's context."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where."""

    origin: Origin
    text: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}"


def raise_if_any(faults: Iterable[Fault]) -> None:
    """Raise one `RecipeError` with a line for each fault, in the order of the files."""
    lines = [str(fault) for fault in sorted(faults, key=_place)]
    if lines:
        raise RecipeError("\n".join(dict.fromkeys(lines)))


def _place(fault: Fault) -> tuple[bool, str, int]:
    origin = fault.origin
    return origin.is_override, origin.place, origin.line


def unknown_key(key: str, keys: Sequence[str], guesses: Iterable[str] = ()) -> str:
    """The sentence for a key that is none of `keys`."""
    hint = guess(key, (*keys, *guesses))
    return f"unknown key {quoted(key)}{hint}. Keys: {', '.join(keys)}."


def explained(
    error: ValidationError, values: Mapping[str, Any], keys: Sequence[str]
) -> Iterator[tuple[KeyPath, str]]:
    """The place within the table, and a sentence, for each thing that pydantic minds."""
    # A union has an error for each of its members: they become one sentence.
    expected: dict[KeyPath, list[str]] = {}
    for details in itertools.filterfalse(is_needless, error.errors()):
        path = _existing(values, details["loc"])
        if details["type"] in _EXPECTED:
            expected.setdefault(path, []).append(_phrase(details))
        else:
            yield path, _sentence(details, path, values, keys)
    for path, phrases in expected.items():
        allowed = " or ".join(dict.fromkeys(phrases))
        yield path, f"{_dotted(path)} must be {allowed}, found {_found(values, path, allowed)}."


def _existing(values: Mapping[str, Any], location: KeyPath) -> KeyPath:
    """The part of pydantic's location that is in the recipe: it also names members of unions."""
    value: Any = values
    for depth, step in enumerate(location):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return location[:depth]
    return location


def _phrase(details: Mapping[str, Any]) -> str:
    context = {name: _as_written(value) for name, value in details.get("ctx", {}).items()}
    return _EXPECTED[details["type"]].format(**context)


def _as_written(value: object) -> object:
    """A bound as its author wrote it (pydantic makes 0 of a number 0.0), a choice as TOML does."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.replace("'", '"') if isinstance(value, str) else value


def _sentence(
    details: Mapping[str, Any], path: KeyPath, values: Mapping[str, Any], keys: Sequence[str]
) -> str:
    location = details["loc"]
    if details["type"] == "extra_forbidden" and len(location) == 1:
        return unknown_key(location[0], keys)
    if details["type"] == "extra_forbidden":
        return f"unknown key {quoted(_dotted(location))}."
    if details["type"] == "missing":
        return _missing(location, path, values, keys)
    what = str(details.get("ctx", {}).get("error", details["msg"])).rstrip(".")
    return f"{_dotted(path)}: {what}, found {_found(values, path)}." if path else f"{what}."


def _missing(
    location: KeyPath, path: KeyPath, values: Mapping[str, Any], keys: Sequence[str]
) -> str:
    if isinstance(location[-1], int):
        return f"{_dotted(path)} has too few items, found {_found(values, path)}."
    every = f" Keys: {', '.join(keys)}." if len(location) == 1 else ""
    return f"missing key {quoted(_dotted(location))}.{every}"


def _found(values: Mapping[str, Any], path: KeyPath, allowed: str = "") -> str:
    value: Any = values
    for step in path:
        value = value[step]
    hint = guess(value, re.findall(r'"([^"]*)"', allowed)) if isinstance(value, str) else ""
    return shortened(value) + hint


def _dotted(path: KeyPath) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")
