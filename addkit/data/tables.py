"""CSV files with named columns, and the line of each row, for error messages."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from addkit.errors import DataError, guess

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row; its cells are stripped of blanks at their ends."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A file's columns and rows; each row has a cell for each column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]

    def column(self, name: str, key: str) -> int:
        """The position of the column that the recipe's `key` names. Raises `DataError` for none."""
        if name in self.columns:
            return self.columns.index(name)
        raise DataError(
            f'{self.path}:1: no column "{name}"{guess(name, self.columns)}; there are: '
            f"{', '.join(self.columns)}.\nRename a column or set data.{key}."
        )

    def cells(self, name: str, key: str) -> list[str]:
        """The cells of that column, a row each."""
        column = self.column(name, key)
        return [row.cells[column] for row in self.rows]

    def classes(
        self, name: str, key: str, missing: Sequence[str] = ("",)
    ) -> tuple[tuple[str, ...], list[int]]:
        """The sorted values of that column, and the position among them of each row's value. Raises
        `DataError` if a cell is one of `missing`, or all cells are equal.
        """
        values = self.cells(name, key)
        for row, value in zip(self.rows, values, strict=True):
            if value in missing:
                raise DataError(f'{self.location(row)}: no label in column "{name}".')
        classes = tuple(sorted(set(values)))
        if len(classes) < 2:
            raise DataError(f'{self.path}: column "{name}" has fewer than two labels.')
        numbers = {value: number for number, value in enumerate(classes)}
        return classes, [numbers[value] for value in values]

    def splits(self, name: str, validation: float) -> dict[str, list[int]]:
        """Rows by the split that the column `name` gives; `data.split_column` names the column.
        Raises `DataError` if a cell is no split, train or test has no row, or `validation`, a share
        to be held out, is above 0 where the column has validation rows of its own.
        """
        splits: dict[str, list[int]] = {"train": [], "test": []}
        for number, cell in enumerate(self.cells(name, "split_column")):
            if cell not in _SPLITS:
                raise DataError(
                    f'{self.location(self.rows[number])}: "{cell}" in column "{name}" is no split'
                    f"{guess(cell, _SPLITS)}; allowed: {', '.join(_SPLITS)}."
                )
            splits.setdefault(cell, []).append(number)
        for split, rows in splits.items():
            if not rows:
                raise DataError(f'{self.path}: no row has "{split}" in column "{name}".')
        if validation and "validation" in splits:
            raise DataError(
                f'{self.path}: column "{name}" names the validation rows; '
                "data.validation must be 0."
            )
        return splits

    def location(self, row: CsvRow) -> str:
        """Such as `photos.csv:12`."""
        return f"{self.path}:{row.line}"


def read_csv(path: Path, separator: str) -> CsvTable:
    """The whole table (RFC 4180, UTF-8); empty lines are skipped.

    Raises `DataError` for a file that is missing, no text, or not one cell a column.
    """
    try:
        # With or without a byte order mark, which spreadsheets write.
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: no UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}). "
            "Save it as UTF-8."
        ) from error
    except OSError as error:
        folder = path.absolute().parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        near = guess(path.name, names)
        raise DataError(f"{path}: cannot be read ({error.strerror}){near}.") from error

    # newline="": the reader handles line ends itself, also those within quoted cells.
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    line = 1
    try:
        for cells in reader:
            # Spreadsheets leave lines of separators alone at the end.
            if any(cells):
                rows.append(CsvRow(line, tuple(cell.strip() for cell in cells)))
            # A quoted cell may span lines, so a row begins behind the last line that was read.
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{line}: {error}. Mend the quotes of this row.") from error

    if not rows:
        raise DataError(f"{path}: empty; its first line must name the columns.")
    header, *body = rows
    # Empty headers may repeat: a recipe cannot name such a column.
    twins = [name for name in header.cells if name and header.cells.count(name) > 1]
    if twins:
        raise DataError(f'{path}:{header.line}: column "{twins[0]}" occurs twice. Rename one.')
    for row in body:
        if len(row.cells) != len(header.cells):
            raise DataError(
                f"{path}:{row.line}: {len(row.cells)} cells, and {len(header.cells)} columns: "
                f'{", ".join(header.cells)}.\nPut a cell that contains "{separator}" in double '
                "quotes, and leave unknown cells empty."
            )
    return CsvTable(path, header.cells, tuple(body))
