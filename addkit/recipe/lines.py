"""Where each key of a TOML text stands: `tomllib` keeps no line numbers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

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

    A table that has no header of its own stands where its first key does. Keys within arrays have
    no entry.
    """
    scanner = _Scanner()
    for kind, token, line in _tokens(text):
        scanner.read(kind, token, line)
    return scanner.lines


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    line, position = 1, 0
    for match in _TOKEN.finditer(text + "\n"):
        line += text.count("\n", position, match.start())
        position = match.start()
        yield match.lastgroup or "", match.group(), line


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
            self._key.append(_unquoted(token))

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
            self._begin(mark)
        elif mark in "]}":
            self._open.pop()
        elif (mark == "," and self._base() is not None) or (mark == "\n" and not self._open):
            self._in_value = False

    def _begin(self, bracket: str) -> None:
        is_table = bracket == "{" and self._base() is not None
        self._open.append(self._path if is_table else None)
        self._in_value = not is_table

    def _base(self) -> KeyPath | None:
        return self._open[-1] if self._open else self._table

    def _end_key(self, base: KeyPath, line: int) -> KeyPath:
        path = (*base, *self._key)
        for end in range(len(base) + 1, len(path) + 1):
            self.lines.setdefault(path[:end], line)
        self._key.clear()
        return path


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    text: str = tomllib.loads(f"key = {key}")["key"]
    return text
