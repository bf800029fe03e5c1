"""Text of users, such as names of classes and files, as terminals and shells can take it."""

from __future__ import annotations

import re
import shlex

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters of ASCII and Latin-1, separators of lines, and overrides of direction."""
_UNTYPABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\udc80-\udcff'\\]")
"""Those, bytes of file names that are no UTF-8, and what must be escaped beside them."""


def printable(text: str, keep: str = "") -> str:
    """The text with control characters as `\\x1b`, `\\n` or `\\u202e`, those in `keep` aside."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def _escape(sign: str) -> str:
    return repr(sign)[1:-1]


def addkit_command(*words: object) -> str:
    """A shell command to paste: `addkit` with these words, each quoted where it must be."""
    return " ".join(["addkit", *map(quoted, words)])


def quoted(word: object) -> str:
    """A word for a shell; `$'...'` of bash, zsh and ksh where it has control characters."""
    text = str(word)
    if not re.search(r"[\udc80-\udcff]", text) and not _CONTROL.search(text):
        return shlex.quote(text)
    return "$'" + _UNTYPABLE.sub(_typed, text) + "'"


def _typed(match: re.Match[str]) -> str:
    number = ord(match[0])
    if match[0] in "'\\":
        return "\\" + match[0]
    # A byte of a file name; else a character by its number.
    number -= 0xDC00 if number >= 0xDC80 else 0
    return f"\\x{number:02x}" if number < 0x80 or ord(match[0]) >= 0xDC80 else f"\\u{number:04x}"
