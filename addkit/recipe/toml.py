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
    # tomllib keeps no line numbers, so the text is scanned a second time.
    scanner = _Scanner()
    line, position = 1, 0
    for match in _TOKEN.finditer(text + "\n"):
        line += text.count("\n", position, match.start())
        position = match.start()
        scanner.read(match.lastgroup or "", match.group(), line)
    return scanner.lines


class _Scanner:
    """Reads a token at a time and is either within a value or collecting the parts of a key."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._table: KeyPath = ()
        self._key: list[str] = []
        self._path: KeyPath = ()
        self._in_value = False
        self._in_header = False
        self._open: list[KeyPath | None] = []
        """Brackets of the value: an inline table's path, None for arrays and all within them."""

    def read(self, kind: str, token: str, line: int) -> None:
        """Take in the next token."""
        if kind == "mark" and self._in_value:
            self._mark_of_value(token)
        elif kind == "mark":
            self._mark_of_key(token, line)
        elif kind != "comment" and not self._in_value:
            # tomllib knows the escapes of a quoted key.
            is_quoted = token[0] in "\"'"
            self._key.append(tomllib.loads(f"key = {token}")["key"] if is_quoted else token)

    def _mark_of_key(self, mark: str, line: int) -> None:
        if mark == "[":
            self._in_header = True
        elif mark == "\n" and self._in_header:
            self._table, self._in_header = self._end_key((), line), False
            self.lines[self._table] = line
        elif mark == "=":
            self._path = self._end_key(self._base() or (), line)
            self._in_value = True
        elif mark == "}":
            self._open.pop()
            self._in_value = True

    def _mark_of_value(self, mark: str) -> None:
        if mark in "[{":
            is_table = mark == "{" and self._base() is not None
            self._open.append(self._path if is_table else None)
            self._in_value = not is_table
        elif mark in "]}":
            self._open.pop()
        elif (mark == "," and self._base() is not None) or (mark == "\n" and not self._open):
            self._in_value = False

    def _base(self) -> KeyPath | None:
        return self._open[-1] if self._open else self._table

    def _end_key(self, base: KeyPath, line: int) -> KeyPath:
        path = (*base, *self._key)
        for end in range(len(base) + 1, len(path) + 1):
            self.lines.setdefault(path[:end], line)
        self._key.clear()
        return path


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it can be."""
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
