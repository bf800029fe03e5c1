"""TOML text: parse it, find the line of each key, and write values."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

DEEPEST = 100
"""Levels of tables or lists within each other."""


def parsed(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is not TOML, or holds a number with more digits than Python would show.
        RecursionError: it is nested too deeply.
    """
    tables = tomllib.loads(text)
    # The depth is not left to Python, whose limits differ between its versions and functions.
    level: list[Any] = [tables]
    for _ in range(DEEPEST):
        values = (each.values() if isinstance(each, dict) else each for each in level)
        level = [inner for each in values for inner in each if isinstance(inner, dict | list)]
        if not level:
            break
    else:
        raise RecursionError
    # tomllib reads hexadecimal numbers of any length, which can be neither checked nor printed.
    json.dumps(tables, default=str)
    return tables


KeyPath = tuple[str | int, ...]
"""Keys from the top, such as ("loss", "name"); () is the file itself."""

# Texts first: a "#" or a bracket within quotes is neither a comment nor a mark. Three quotes before
# one, or an empty text would be taken for the beginning of a long one.
_TOKEN = re.compile(
    r"""
    (?P<text>  \"{3} (?:\\.|[^\\])*? \"{3,5} | '{3} .*? '{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
  | (?P<comment>  \#[^\n]* )
  | (?P<mark>  [][{}=,.\n] )
  | (?P<word>  [^][{}=,.\s"'\#]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of every table and key, counted from 1, in a text that is valid TOML.

    A table without a header has the line of its first key. Keys within arrays have no entry.
    """
    # tomllib keeps no line numbers, so the text is scanned a second time: a token at a time, either
    # within a value or collecting the parts of a key.
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    path: KeyPath = ()
    key: list[str] = []
    in_value = in_header = False
    # Brackets of the value: an inline table's path, None for arrays and all within them.
    brackets: list[KeyPath | None] = []

    def end_key(base: KeyPath) -> KeyPath:
        path = (*base, *key)
        # A dotted key a.b.c makes the tables a and a.b too.
        for end in range(len(base) + 1, len(path) + 1):
            lines.setdefault(path[:end], line)
        key.clear()
        return path

    line, position = 1, 0
    # The last line may lack its line break, which ends a value.
    for match in _TOKEN.finditer(text + "\n"):
        # Counted from token to token: counting from the top each time would be quadratic.
        line += text.count("\n", position, match.start())
        position = match.start()
        kind, token = match.lastgroup, match.group()
        base = brackets[-1] if brackets else table
        if kind != "mark":
            if kind != "comment" and not in_value:
                # tomllib knows the escapes of a quoted key.
                is_quoted = token[0] in "\"'"
                key.append(tomllib.loads(f"key = {token}")["key"] if is_quoted else token)
        elif in_value:
            if token in "[{":
                # `{` opens keys of its own, unless an array surrounds it, whose keys have no line.
                is_table = token == "{" and base is not None
                brackets.append(path if is_table else None)
                in_value = not is_table
            elif token in "]}":
                brackets.pop()
            elif (token == "," and base is not None) or (token == "\n" and not brackets):
                in_value = False
        elif token == "[":
            in_header = True
        elif token == "\n" and in_header:
            table, in_header = end_key(()), False
            lines[table] = line  # Of the header itself, even if a dotted key made the table before.
        elif token == "=":
            path, in_value = end_key(base or ()), True
        elif token == "}":
            brackets.pop()
            in_value = True
    return lines


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it can be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


def toml_value(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"  # Before numbers: a bool is an int in Python.
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return str(value)


def quoted(text: str) -> str:
    """The text in double quotes with everything escaped that TOML requires."""
    # JSON escapes as TOML does, except for this one control character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def shortened(value: Any, width: int = 60) -> str:
    """A value as an error message shows it."""
    if isinstance(value, dict):
        return "a table"
    text = toml_value(value)
    return text if len(text) <= width else text[: width - 3] + "..."
