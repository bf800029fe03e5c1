"""Settings checked by pydantic, and its errors as sentences: what was found and what is allowed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from addkit.errors import UsageError, guess
from addkit.plugin.config import Config
from addkit.recipe.toml import KeyPath, quoted, shortened

C = TypeVar("C", bound=Config)


def validated(config: type[C], values: Mapping[str, Any]) -> C:
    """The settings as `config`, with no value turned into another type.

    Raises:
        pydantic.ValidationError: some error is not one that `is_needless`.
    """
    # JSON is where pydantic is strict and yet takes lists for tuples and strings for paths.
    text = json.dumps(values, default=str)
    try:
        return config.model_validate_json(text, strict=True)
    except ValidationError as error:
        if not all(map(is_needless, error.errors())):
            raise
        return config.model_validate_json(text)


def check_arguments(config: type[C], **values: Any) -> C:
    """The arguments of a function as settings. Raises `UsageError` for those not allowed there."""
    # Numbers of numpy and of tensors without dimensions count as Python's.
    plain = {
        name: value.item() if getattr(value, "shape", None) == () else value
        for name, value in values.items()
    }
    try:
        return validated(config, plain)
    except ValidationError as error:
        faults = (complaint.text for complaint in explained(error, plain, ()))
        raise UsageError(" ".join(faults)) from None


def is_needless(details: Mapping[str, Any]) -> bool:
    """True for one of `ValidationError.errors()` that refuses a list as a tuple or set.

    It arises behind a validator of mode "before", after which pydantic no longer reads JSON.
    """
    is_of_lists = details["type"] in ("tuple_type", "set_type", "frozen_set_type")
    return is_of_lists and isinstance(details["input"], list)


# pydantic's own texts speak of Python ("Input should be a valid tuple"), and recipes are TOML.
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
"""pydantic's type of error -> the allowed value, with fields of the error's context."""


MOST_FAULTS = 50
"""Errors of one table that are listed."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error at one path in a table: a sentence, and its parts for programs."""

    path: KeyPath
    text: str
    found: str | None = None
    allowed: str | None = None


def unknown_key(key: str, keys: Sequence[str], guesses: Iterable[str] = ()) -> str:
    """The sentence for a key that is none of `keys`."""
    hint = guess(key, (*keys, *guesses))
    return f"unknown key {shortened(key)}{hint}. Keys: {', '.join(keys)}."


def explained(
    error: ValidationError, values: Mapping[str, Any], keys: Sequence[str]
) -> Iterator[Complaint]:
    """Every error of pydantic's as a `Complaint`; paths begin within the table."""
    # A union has an error for each of its members: they become one sentence.
    expected: dict[KeyPath, list[str]] = {}
    for details in itertools.islice(
        itertools.filterfalse(is_needless, error.errors()), MOST_FAULTS
    ):
        path, value = _existing(values, details["loc"])
        if details["type"] in _EXPECTED:
            bounds = dict(details.get("ctx", {}))
            for name, bound in bounds.items():
                # As its author wrote it: pydantic makes 0 of a number 0.0, and quotes as Python.
                if isinstance(bound, float) and bound.is_integer():
                    bounds[name] = int(bound)
                elif isinstance(bound, str):
                    bounds[name] = bound.replace("'", '"')
            phrase = _EXPECTED[details["type"]].format(**bounds)
            expected.setdefault(path, []).append(phrase)
        else:
            yield _complaint(details, path, shortened(value) if path else None, keys)
    for path, phrases in expected.items():
        allowed = " or ".join(dict.fromkeys(phrases))
        _, value = _existing(values, path)
        # Choices are the quoted words of what is allowed.
        found, choices = shortened(value), re.findall(r'"([^"]*)"', allowed)
        hint = guess(value, choices) if isinstance(value, str) else ""
        text = f"{dotted(path)} must be {allowed}, found {found}{hint}."
        yield Complaint(path, text, found, allowed)


def _existing(values: Mapping[str, Any], location: KeyPath) -> tuple[KeyPath, Any]:
    """The part of pydantic's location that is in the recipe, and its value."""
    value: Any = values
    for depth, step in enumerate(location):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            # pydantic's locations also name the members of unions.
            return location[:depth], value
    return location, value


def _complaint(
    details: Mapping[str, Any], path: KeyPath, found: str | None, keys: Sequence[str]
) -> Complaint:
    """The sentence for an error that is none of a wrong type or range."""
    location = details["loc"]
    # Keys of the table itself are listed; those of a nested model are not at hand.
    every = ", ".join(keys) if len(location) == 1 else None
    match details["type"]:
        case "extra_forbidden" if every:
            return Complaint(path, unknown_key(location[0], keys), location[0], every)
        case "extra_forbidden":
            return Complaint(path, f"unknown key {shortened(dotted(location))}.", str(location[-1]))
        case "missing" if isinstance(location[-1], int):
            return Complaint(path, f"{dotted(path)} has too few items, found {found}.", found)
        case "missing":
            known = f" Keys: {every}." if every else ""
            text = f"missing key {quoted(dotted(location))}.{known}"
            return Complaint(path, text, allowed=every)
    # A validator's own text, without the "Value error, " that pydantic puts before it in `msg`.
    what = str(details.get("ctx", {}).get("error", details["msg"])).rstrip(".")
    return Complaint(path, f"{dotted(path)}: {what}, found {found}." if path else f"{what}.", found)


def dotted(path: KeyPath) -> str:
    """`table.key[2]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")
