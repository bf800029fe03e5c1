"""Text files that users write: their encoding, and what is wrong with one that cannot be read."""

from __future__ import annotations

import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from addkit.errors import DataError, guess


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, or of a UTF-16 one that begins with a byte order mark.

    The mark, which spreadsheets and editors write, is left out. Raises `DataError` that names the
    file, and the line of what is no text.
    """
    if path.exists() and not path.is_file():  # a FIFO or a device would be read without end
        raise DataError(f"{path}: cannot be read (not a regular file). Name a text file.")
    try:
        content = path.read_bytes()
    except OSError as error:
        folder = path.absolute().parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        raise DataError(
            f"{path}: cannot be read ({error.strerror}){guess(path.name, names)}."
        ) from error
    wide = content.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: no {'UTF-16' if wide else 'UTF-8'} text (byte {error.start} is "
            f"{content[error.start]:#04x}). Save it as UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path}:{line}: contains a zero character, as binary files and UTF-16 without a byte "
            "order mark do. Save it as UTF-8."
        )
    return text


def parse_json(text: str, location: str, advice: str) -> object:
    """The value of a JSON text. Raises `DataError` for none, and for a key that occurs twice."""
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise DataError(f"{location}: no JSON ({reason}). {advice}")


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):  # the last would win without a word
        keys = [key for key, _ in pairs]
        raise ValueError(f'key "{next(key for key in keys if keys.count(key) > 1)}" occurs twice')
    return values
