"""Values and recipes as TOML text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from addkit.recipe.model import Recipe


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as TOML.

    `recipe_from_tables(tomllib.loads(text), path)` gives the same experiment again.
    """
    tables = recipe.tables()
    top = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    parts = [_pairs(top)]
    for key, value in tables.items():
        if isinstance(value, dict):
            parts.append(f"[{key}]\n{_pairs(value)}")
    return "\n".join(parts)


def _pairs(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {toml_value(value)}\n" for key, value in table.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


def toml_value(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return str(value)


def quoted(text: str) -> str:
    """The text in double quotes with everything escaped that TOML wants escaped."""
    # JSON escapes as TOML does, except for this one control character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def shortened(value: Any, width: int = 60) -> str:
    """A value as an error message shows it."""
    if isinstance(value, dict):
        return "a table"
    text = toml_value(value)
    return text if len(text) <= width else text[: width - 3] + "..."
