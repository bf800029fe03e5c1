from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest

from addkit.data.tables import CsvRow, read_csv
from addkit.errors import DataError


def _file(folder: Path, content: str | bytes) -> Path:
    path = folder / "pets.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_cells_are_stripped_and_lines_counted(tmp_path: Path) -> None:
    path = _file(tmp_path, 'a,b\n\n x ,"1, 2"\n\n"two\nlines",y\nlast,\n')
    table = read_csv(path, ",")
    assert table.columns == ("a", "b")
    assert table.rows == (
        CsvRow(3, ("x", "1, 2")),
        CsvRow(5, ("two\nlines", "y")),
        CsvRow(7, ("last", "")),
    )
    assert table.location(table.rows[1]) == f"{path}:5"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa;b\r\n1;2\r\n", b"a;b\r1;2", "a;b\n1;2\n,;\n"])
def test_other_separators_marks_and_line_ends(tmp_path: Path, content: bytes | str) -> None:
    table = read_csv(_file(tmp_path, content), ";")
    assert table.columns == ("a", "b")
    assert table.rows[0].cells == ("1", "2")


@pytest.mark.parametrize("separator", ",;\t|")
@pytest.mark.parametrize("first", ["", "sep={}\r\n", "\r\n"])
def test_separators_are_found(tmp_path: Path, separator: str, first: str) -> None:
    text = 'image,note\r\na.png,"1,5; 2|3\t4"\r\n'
    outside = [part.replace(",", separator) for part in text.split('"')[::2]]
    text = first.format(separator) + '"1,5; 2|3\t4"'.join(outside)
    for given in ",;":
        table = read_csv(_file(tmp_path, text), given, "file", "image")
        assert table.columns == ("image", "note")
        assert table.rows == (CsvRow(3 if first else 2, ("a.png", "1,5; 2|3\t4")),)


def test_a_wrong_column_is_guessed_for_any_separator(tmp_path: Path) -> None:
    table = read_csv(_file(tmp_path, "images;tone\na.png;dark\n"), ",", "image")
    with pytest.raises(DataError, match=r'did you mean "images"\?\); there are: images, tone'):
        table.column("image", "image_column")


def test_columns_and_splits_as_people_write_them(tmp_path: Path) -> None:
    rows = [f"{i},{split}" for i, split in enumerate(("Training", "VAL", "test", "train"))]
    path = _file(tmp_path, "\n".join([normalize("NFD", "n,é"), *rows]))
    table = read_csv(path, ",")
    assert table.splits("é", 0.0) == {"train": [0, 3], "validation": [1], "test": [2]}


def test_a_table_without_a_header(tmp_path: Path) -> None:
    table = read_csv(_file(tmp_path, "a.png,dark\nb.png,light\n"), ",", "image")
    with pytest.raises(DataError, match=r"csv:1: .*\nThe first line must name the columns"):
        table.column("image", "image_column")


def test_an_unusual_blank_is_no_line_end(tmp_path: Path) -> None:
    table = read_csv(_file(tmp_path, "a\nx\u2028y\nz\n"), ",")
    assert [row.line for row in table.rows] == [2, 3]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"pets\.csv: empty; its first line must name the columns\."),
        (b"\n,,\n", r"pets\.csv: empty"),
        (b"a,b\n1,\xe9\n", r"pets\.csv:2: no UTF-8 text \(byte 6 is 0xe9\)\. Save it as UTF-8"),
        (b"a,b,a\n", r'pets\.csv:1: column "a" occurs twice'),
        (b"a,b\n1,2\n\n1,2,3\n", r"pets\.csv:4: 3 cells, and 2 columns: a, b\.\nPut a cell"),
        (b'a,b\n1,2\n1,"2"3\n', r"pets\.csv:3: .*Mend the quotes of this row"),
        (b'a,b\n1,"2\n1,2\n', r"pets\.csv:2: .*Mend the quotes of this row"),
    ],
)
def test_broken_tables(tmp_path: Path, content: bytes, text: str) -> None:
    with pytest.raises(DataError, match=text):
        read_csv(_file(tmp_path, content), ",")


def test_a_missing_file_is_guessed(tmp_path: Path) -> None:
    _file(tmp_path, "a\n")
    with pytest.raises(DataError, match=r'pet\.csv: cannot be read .* \(did you mean "pets\.csv"'):
        read_csv(tmp_path / "pet.csv", ",")
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)\.$"):
        read_csv(tmp_path / "no" / "pets.csv", ",")


def test_a_missing_column_is_guessed(tmp_path: Path) -> None:
    path = _file(tmp_path, "images,tone\na.png,dark\n")
    text = (
        r'pets\.csv:1: no column "image" \(did you mean "images"\?\); there are: images, tone\.'
        r"\nRename a column or set data\.image_column\."
    )
    with pytest.raises(DataError, match=text):
        read_csv(path, ",").column("image", "image_column")
