"""CSV files with named columns, the line of each row, and the image files that tables name."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePath
from unicodedata import normalize

from addkit.data.folders import ImageStore, shortened
from addkit.data.formats import picture_endings
from addkit.data.names import NameFinder
from addkit.data.settings import DataWarning
from addkit.data.source import SPLIT_NAMES
from addkit.data.text_files import read_text
from addkit.errors import DataError, guess

_SEPARATORS = ",;\t|"
_MOST_GUESSES = 5
"""Missing images for which the nearest file is looked up."""


class ImageNames:
    """The image files below `folder` that the names in a table mean.

    Args:
        table: the file, for messages.
        store: reads the images.
        folder: where names begin.
        key: the recipe's, of the folder.
    """

    def __init__(self, table: Path, store: ImageStore, folder: Path, key: str) -> None:
        self._table, self._store, self._folder, self._key = table, store, folder, key

        def entries(name: str) -> list[str]:
            try:
                folders, files = store.entries(folder / name)
            except (OSError, ValueError):
                return []
            return folders + files

        self._finder = NameFinder(entries)

    def found(self, names: Sequence[str]) -> dict[str, str]:
        """Each name -> the name of the one file that differs in its form alone, or itself.

        Warns once if there are some. A name that exists, or that no file has, stays as it is.
        """
        paths = {str(self._folder / name): name for name in names}
        missing = [paths[path] for path in self._store.missing(sorted(paths))]
        near = {name: file for name in missing if (file := self._finder.same(name))}
        if near:
            name, file = next(iter(near.items()))
            warnings.warn(
                f"{self._table}: {len(near)} of {len(paths)} image names differ from their files' "
                f'in form ({file.differs}), such as "{name}", which is read as {file.name}',
                DataWarning,
                stacklevel=2,
            )
        return {name: near[name].name if name in near else name for name in names}

    def refuse_missing(self, locations: Mapping[str, str], skip: bool) -> None:
        """Raise `DataError` if images are missing: some of them without `skip`, or all.

        Args:
            locations: where the table names each image, by the image's name.
            skip: missing images are left out.
        """
        paths = {str(self._folder / name): name for name in locations}
        missing = self._store.missing([*paths])
        lines = [f"{locations[paths[path]]}: {path} is no file" for path in missing]
        for number, path in enumerate(missing[:_MOST_GUESSES]):
            lines[number] += self._nearest(paths[path])
        # All of them: the folder is wrong, whatever `skip` allows.
        if missing and len(missing) == len(paths):
            raise DataError(
                f"{self._table}: none of the {len(paths)} images exists:\n  "
                f"{shortened(lines[:1])}\nSet {self._key} to the folder that their names begin "
                "from."
            )
        if missing and not skip:
            raise DataError(
                f"{self._table}: {len(missing)} of {len(paths)} images are missing:\n  "
                f"{shortened(lines)}\nAdd them, set {self._key} to their folder, or set "
                'data.bad_files = "skip" to leave them out.'
            )

    def _nearest(self, name: str) -> str:
        """` (did you mean "x"?)` for the nearest file that exists; empty if none is near."""
        last = PurePath(name.replace("\\", "/")).name
        # The same name in the folder itself or in one of its sub-folders is the best guess.
        folders = ["", *self._store.entries(self._folder)[0]]
        paths = [str(self._folder / folder / last) for folder in folders]
        absent = set(self._store.missing(paths))
        present = [path for path in paths if path not in absent]
        if present:
            return f' (did you mean "{os.path.relpath(present[0], self._folder)}"?)'
        near = self._finder.similar(name) or ""
        # Of numbered images, the one of another number is no guess.
        numbered = re.sub(r"\d", "", last) == re.sub(r"\d", "", PurePath(near).name)
        return f' (did you mean "{near}"?)' if near and not numbered else ""


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
        for form in (str, lambda text: normalize("NFC", text)):
            same = [form(column) for column in self.columns]
            if same.count(form(name)) == 1:
                return same.index(form(name))
        advice = f"Rename a column or set data.{key}."
        endings = {Path(column).suffix.lower() for column in self.columns} - {""}
        if endings & picture_endings():
            advice = f"The first line must name the columns: write {name} above the image files."
        raise DataError(
            f'{self.path}:1: no column "{name}"{guess(name, self.columns)}; there are: '
            f"{', '.join(self.columns)}.\n{advice}"
        )

    def cells(self, name: str, key: str) -> list[str]:
        """The cells of that column, a row each."""
        column = self.column(name, key)
        return [row.cells[column] for row in self.rows]

    def files(self, name: str, key: str, images: ImageNames) -> list[str]:
        """The image files that the column names. Raises `DataError` for an empty cell."""
        names = self.cells(name, key)
        for row, cell in zip(self.rows, names, strict=True):
            if not cell:
                raise DataError(f'{self.location(row)}: no image file in column "{name}".')
        paths = images.found(names)
        return [paths[cell] for cell in names]

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
            split = SPLIT_NAMES.get(cell.lower())
            if split is None:
                raise DataError(
                    f'{self.location(self.rows[number])}: "{cell}" in column "{name}" is no split'
                    f"{guess(cell, SPLIT_NAMES)}; allowed: train, validation, test."
                )
            splits.setdefault(split, []).append(number)
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


def read_csv(path: Path, separator: str, *columns: str) -> CsvTable:
    """The whole table (RFC 4180, UTF-8); empty lines are skipped.

    Args:
        path: the file.
        separator: character between cells. Where the first line then has none of `columns`, and
            has one with another usual separator, the table is read with that.
        columns: names of which a table has at least one.

    Raises `DataError` for a file that is missing, no text, or not one cell a column.
    """
    text, line = read_text(path), 1
    if text.lower().startswith(tuple(f"sep={other}" for other in _SEPARATORS)):
        # Excel's own line that names the separator.
        separator, line, text = text[4], 2, text.partition("\n")[2]
    names = {other: _first(text, other) for other in (separator, *_SEPARATORS)}
    fits = [other for other in names if not names[other].isdisjoint(columns)]
    if not fits and len(names[separator]) < 2:
        # Misspelt names can be guessed where there are several.
        fits = [other for other in names if len(names[other]) > 1]
    separator = fits[0] if fits else separator
    # newline="": the reader handles line ends itself, also those within quoted cells.
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, before = [], line
    try:
        for cells in reader:
            # Spreadsheets leave lines of separators alone at the end.
            if any(cells):
                rows.append(CsvRow(line, tuple(cell.strip() for cell in cells)))
            # A quoted cell may span lines, so a row begins behind the last line that was read.
            line = before + reader.line_num
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


def _first(text: str, separator: str) -> set[str]:
    """The cells of the first line that has any; none if its quotes are broken."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return {cell.strip() for cell in next(filter(any, reader), [])}
    except csv.Error:
        return set()
