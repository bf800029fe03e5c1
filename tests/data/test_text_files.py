from __future__ import annotations

import os
from pathlib import Path

import pytest

from addkit.data.text_files import parse_json, read_text
from addkit.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_left_out(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("é\r\nb".encode(encoding))
    assert read_text(path) == "é\r\nb"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\nb\xe9", r"a\.txt:2: no UTF-8 text \(byte 3 is 0xe9\)"),
        (b"\xff\xfea\0\x00\xd8", r"a\.txt:1: no UTF-16 text"),
        ("a\nb".encode("utf-16-le"), r"a\.txt:1: contains a zero character"),
    ],
)
def test_what_is_no_text_is_named_by_its_line(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_text(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, text in (("pipe", "not a regular file"), ("pip", 'did you mean "pipe"')):
        with pytest.raises(DataError, match=text):
            read_text(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "Expecting"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', 'key "b" occurs twice'),
        ("1" * 5000, "digits"),
    ],
)
def test_what_is_no_json(content: str, text: str) -> None:
    with pytest.raises(DataError, match=rf"^a\.json:3: no JSON \(.*{text}.*\)\. Mend it\.$"):
        parse_json(content, "a.json:3", "Mend it.")
