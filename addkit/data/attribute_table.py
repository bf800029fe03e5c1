"""The user's own images with several labels each, from a CSV file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.augmentation import Augmenter
from addkit.data.folders import Listing
from addkit.data.image_sets import FileImages
from addkit.data.settings import AttributeTableConfig, DataWarning
from addkit.data.shards import open_store
from addkit.data.source import Source
from addkit.data.splits import hold_out_combinations
from addkit.data.tables import CsvRow, CsvTable, read_csv
from addkit.errors import DataError
from addkit.plugin.guess import guess

_MOST_LISTED = 20


class AttributeTable(Source):
    """Images named in a table that has a column for each attribute.

    The classes of an attribute are the values that its training rows have. Building reads the
    table and looks for the images; opening a split verifies its images once. `facts.split_sizes`
    counts rows: a split that skips bad files is shorter.
    """

    def __init__(self, config: AttributeTableConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        self._config = config
        file = config.file.expanduser()
        self._root = config.root.expanduser() if config.root else file.parent
        self.store = open_store(self._root)
        self._table = self.store.file(file)
        self.side_files = (self._table,)
        names, self._splits = read_splits(config.model_copy(update={"file": self._table}))
        self._attributes = Attributes.learn(names, self._splits["train"])
        self._judge_values()
        if config.unknown_values == "stop":
            self._refuse_unknown()
        self._refuse_missing()
        self._verified: dict[str, Sequence[Row]] = {}
        files = self.store.reads((self._table,))
        super().__init__(joint_facts(config, self._attributes, self._splits, files))

    def _refuse_missing(self) -> None:
        rows = [row for part in self._splits.values() for row in part]
        missing = self._missing(rows)
        if len(missing) == len(rows):
            raise DataError(
                f"{self._table}: none of the {len(rows)} image files exists, among them "
                f"{self._file(rows[0])}. Set data.root to the folder that their names begin from."
            )
        if missing and self._config.bad_files == "stop":
            raise DataError(
                f"{self._table}: {len(missing)} of {len(rows)} image files are missing:\n"
                f"  {_listed([self._no_file(row) for row in missing])}\n"
                'Add them, set data.root, or set data.bad_files = "skip" to leave them out.'
            )

    def _missing(self, rows: Sequence[Row]) -> list[Row]:
        absent = set(self.store.missing([str(self._file(row)) for row in rows]))
        return [row for row in rows if str(self._file(row)) in absent]

    def _file(self, row: Row) -> Path:
        return self._root / row.name

    def _no_file(self, row: Row) -> str:
        return f"{row.place}: {self._file(row)} is no file"

    def _judge_values(self) -> None:
        for name, values in zip(self._attributes.names, self._attributes.values, strict=True):
            if not values:
                raise DataError(
                    f'{self._table}: column "{name}" has no value in any training row. '
                    "Fill some in, or leave it out of data.attributes."
                )
            if len(values) == 1:
                warnings.warn(
                    f'{self._table}: column "{name}" has one value in training, "{values[0]}": '
                    "there is nothing to tell apart",
                    DataWarning,
                    stacklevel=2,
                )

    def _refuse_unknown(self) -> None:
        rows = [row for name in self._splits for row in self._splits[name]]
        found = [self._said(row, n) for row in rows for n in self._attributes.unknown(row)]
        if found:
            raise DataError(
                f"{self._table}: values that no training row has:\n  {_listed(found)}\n"
                'Correct them, or set data.unknown_values = "missing" to leave them out of scores.'
            )

    def _said(self, row: Row, n: int) -> str:
        value, known = str(row.values[n]), self._attributes.values[n]
        return (
            f'{row.place}: "{value}" in column "{self._attributes.names[n]}"{guess(value, known)}'
        )

    def _open(self, name: str, augmenter: Augmenter) -> FileImages:
        if name not in self._verified:
            self._verified[name] = self._checked(name)
        rows = self._verified[name]
        paths = [str(self._file(row)) for row in rows]
        return self.store.images(paths, self._attributes.labels(rows), self.pixels, augmenter)

    def _checked(self, name: str) -> Sequence[Row]:
        skip = self._config.bad_files == "skip"
        rows = self._present(self._splits[name])
        others = [self._listing(part) for split, part in self._splits.items() if split != name]
        listing = self._listing(rows)
        kept = self.store.sound(listing, self._table, skip, others).labels
        sound = [rows[position] for position in kept]
        if name == "train":
            self._refuse_gone(sound)
        return sound

    def _listing(self, rows: Sequence[Row]) -> Listing:
        paths = tuple(str(self._file(row)) for row in rows)
        return Listing(paths, tuple(range(len(rows))))

    def _present(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose image file exists, with a warning for each other one."""
        missing = self._missing(rows)
        for row in missing:
            warnings.warn(f"left out {self._no_file(row)}", DataWarning, stacklevel=2)
        gone = set(missing)
        return [row for row in rows if row not in gone]

    def _refuse_gone(self, rows: Sequence[Row]) -> None:
        seen = [{row.values[n] for row in rows} for n in range(len(self._attributes.names))]
        columns = zip(self._attributes.names, self._attributes.values, seen, strict=True)
        gone = [f'{name} "{v}"' for name, values, left in columns for v in values if v not in left]
        if gone:
            raise DataError(
                f"{self._table}: no readable training image with {', '.join(gone)}.\n"
                "Add images, or remove the rows with these values."
            )


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _MOST_LISTED
    return "\n  ".join([*items[:_MOST_LISTED], *([f"and {more} more"] if more > 0 else [])])


_SPLITS = ("train", "validation", "test")

Splits = Mapping[str, Sequence[Row]]


def read_splits(config: AttributeTableConfig) -> tuple[tuple[str, ...], Splits]:
    """The attributes' names, and the rows of each split in the table's order.

    Raises `DataError` for a table that cannot be used; images are not looked for.
    """
    table = read_csv(config.file.expanduser(), config.separator)
    names = _attributes(table, config)
    rows = _rows(table, names, config)
    _refuse_twins(rows)
    _refuse_free_values(table, names, rows, config.max_classes)
    splits = _given(table, rows, config) if config.split_column else {"train": rows}
    if not config.split_column:
        splits = _held_out(table, splits, "test", config.test_share, config.split_seed)
    if config.validation:
        splits = _held_out(table, splits, "validation", config.validation, config.split_seed)
    return names, splits


def _attributes(table: CsvTable, config: AttributeTableConfig) -> tuple[str, ...]:
    taken = {config.image_column, config.split_column, ""}
    names = config.attributes or tuple(name for name in table.columns if name not in taken)
    table.column(config.image_column, "image_column")
    if not names:
        raise DataError(
            f'{table.path}:1: no column beside "{config.image_column}" and the split\'s. '
            "Add one for each attribute."
        )
    return names


def _rows(table: CsvTable, names: Sequence[str], config: AttributeTableConfig) -> list[Row]:
    image = table.column(config.image_column, "image_column")
    columns = [table.column(name, "attributes") for name in names]
    rows = []
    for row in table.rows:
        if not row.cells[image]:
            raise DataError(f'{table.place(row)}: no image file in column "{config.image_column}".')
        cells = (row.cells[column] for column in columns)
        values = tuple(None if cell in config.missing else cell for cell in cells)
        rows.append(Row(row.cells[image], table.place(row), values))
    return rows


def _refuse_twins(rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(os.path.normpath(row.name), row)
        if other is not row:
            raise DataError(
                f"{row.place}: {row.name} stands in {other.place} too. Keep one of the rows."
            )


def _refuse_free_values(
    table: CsvTable, names: Sequence[str], rows: Sequence[Row], most: int
) -> None:
    for n, name in enumerate(names):
        known = [row.values[n] for row in rows if row.values[n] is not None]
        count = len(set(known))
        if count > most or (count > 1 and count == len(known)):
            raise DataError(
                f'{table.path}: column "{name}" has {count} different values in {len(known)} rows '
                f'(such as "{known[0]}"); {most} are allowed, and some must occur twice.\n'
                "Name the columns to predict in data.attributes, or set data.max_classes."
            )


def _given(table: CsvTable, rows: Sequence[Row], config: AttributeTableConfig) -> Splits:
    column = table.column(config.split_column, "split_column")
    splits: dict[str, list[Row]] = {"train": [], "test": []}
    for row, source in zip(rows, table.rows, strict=True):
        splits.setdefault(_split(table, source, column), []).append(row)
    for name, members in splits.items():
        if not members:
            raise DataError(f'{table.path}: no row has "{name}" in column "{config.split_column}".')
    if config.validation and "validation" in splits:
        raise DataError(
            f'{table.path}: column "{config.split_column}" names the validation rows; '
            "data.validation must be 0."
        )
    return splits


def _split(table: CsvTable, row: CsvRow, column: int) -> str:
    name = row.cells[column]
    if name not in _SPLITS:
        raise DataError(
            f'{table.place(row)}: "{name}" in column "{table.columns[column]}" is no split'
            f"{guess(name, _SPLITS)}; allowed: {', '.join(_SPLITS)}."
        )
    return name


def _held_out(table: CsvTable, splits: Splits, purpose: str, share: float, seed: int) -> Splits:
    rows = splits["train"]
    parts, names = [row.parts for row in rows], [row.name for row in rows]
    kept, held = hold_out_combinations(parts, names, share, seed)
    if not held:
        raise DataError(
            f"{table.path}: none of {len(rows)} rows can be held out for {purpose} "
            f"(share {share}): a row stays if it is the last with one of its values.\n"
            "Add rows, or write the splits into a column (data.split_column)."
        )
    return {**splits, "train": [rows[p] for p in kept], purpose: [rows[p] for p in held]}
