"""The user's own images with several labels each, from a CSV file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence

from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.augmentation import Augmenter
from addkit.data.folders import Listing, shortened
from addkit.data.image_sets import FileImages
from addkit.data.overview import Contents, numbers_doubt
from addkit.data.settings import AttributeTableConfig, DataWarning
from addkit.data.shards import open_store
from addkit.data.source import Source, hold_out_combinations
from addkit.data.tables import CsvTable, ImageNames, read_csv
from addkit.errors import DataError, guess

Splits = Mapping[str, Sequence[Row]]


class AttributeTable(Source):
    """Images named in a table that has a column for each attribute.

    The classes of an attribute are the values that its training rows have. Building reads the
    table and lists the images; opening a split verifies its images once. `facts.split_sizes`
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
        # From the copy next to the shards, if there are any.
        config = config.model_copy(update={"file": self._table})
        images = ImageNames(self._table, self.store, self._root, "data.root")
        names, self._splits = read_splits(config, images)
        # From train alone, so that test data do not change the network.
        self._attributes = Attributes.learn(names, self._splits["train"])
        self._check_values()
        rows = [row for part in self._splits.values() for row in part]
        locations = {row.name: row.location for row in rows}
        images.refuse_missing(locations, config.bad_files == "skip")
        self._verified: dict[str, Sequence[Row]] = {}
        files = self.store.reads((self._table,))
        super().__init__(joint_facts(config, self._attributes, self._splits, files))

    def contents(self) -> Contents:
        """The rows' images, unread, with a doubt on each attribute of numbers."""
        splits = self._splits.items()
        paths = {name: [*map(self._file, rows)] for name, rows in splits}
        labels = {name: self._attributes.labels(rows) for name, rows in splits}
        columns = zip(self._attributes.names, self._attributes.values, strict=True)
        doubts = (doubt for column in columns for doubt in numbers_doubt(self._table, *column))
        return Contents(self.store, paths, labels, tuple(doubts))

    def _check_values(self) -> None:
        attributes = self._attributes
        for name, values in zip(attributes.names, attributes.values, strict=True):
            if not values:
                raise DataError(
                    f'{self._table}: column "{name}" has no value in any training row. '
                    "Fill some in, or leave it out of data.attributes."
                )
            if len(values) == 1:  # trains, yet teaches nothing: a warning, no error
                warnings.warn(
                    f'{self._table}: column "{name}" has one value in training, "{values[0]}": '
                    "there is nothing to distinguish",
                    DataWarning,
                    stacklevel=2,
                )
        if self._config.unknown_values != "stop":
            return
        unknown = [
            f'{row.location}: "{row.values[n]}" in column "{attributes.names[n]}"'
            f"{guess(str(row.values[n]), attributes.values[n])}"
            for rows in self._splits.values()
            for row in rows
            for n in attributes.unknown(row)
        ]
        if unknown:
            raise DataError(
                f"{self._table}: values that no training row has:\n  {shortened(unknown)}\n"
                'Correct them, or set data.unknown_values = "missing" to leave them out of scores.'
            )

    def _missing(self, rows: Sequence[Row]) -> list[Row]:
        absent = set(self.store.missing([self._file(row) for row in rows]))
        return [row for row in rows if self._file(row) in absent]

    def _file(self, row: Row) -> str:
        return str(self._root / row.name)

    def _listing(self, rows: Sequence[Row]) -> Listing:
        # Labels are positions, to find the rows of readable images again.
        return Listing(tuple(map(self._file, rows)), tuple(range(len(rows))))

    def _open(self, name: str, augmenter: Augmenter) -> FileImages:
        if name not in self._verified:
            self._verified[name] = self._checked(name)
        rows = self._verified[name]
        # After the check, since a skipped image has no row.
        labels = self._attributes.labels(rows)
        return self.store.images([*map(self._file, rows)], labels, self.pixels, augmenter)

    def _checked(self, name: str) -> Sequence[Row]:
        """The rows with a readable image."""
        # Only with bad_files = "skip" is anything missing here; else building has raised.
        missing = set(self._missing(self._splits[name]))
        for row in self._splits[name]:
            if row in missing:
                text = f"left out {row.location}: {self._file(row)} is no file"
                warnings.warn(text, DataWarning, stacklevel=2)
        rows = [row for row in self._splits[name] if row not in missing]
        # Without `skip` the broken files of every split are reported at once.
        others = [self._listing(part) for split, part in self._splits.items() if split != name]
        skip = self._config.bad_files == "skip"
        positions = self.store.sound(self._listing(rows), self._table, skip, others).labels
        sound = [rows[position] for position in positions]
        if name != "train":
            return sound
        # The vocabulary was learned from all training rows; each class still needs an image.
        seen = [{row.values[n] for row in sound} for n in range(len(self._attributes.names))]
        columns = zip(self._attributes.names, self._attributes.values, seen, strict=True)
        gone = [f'{name} "{v}"' for name, values, left in columns for v in values if v not in left]
        if gone:
            raise DataError(
                f"{self._table}: no readable training image with {', '.join(gone)}.\n"
                "Add images, or remove the rows with these values."
            )
        return sound


def read_splits(config: AttributeTableConfig, images: ImageNames) -> tuple[tuple[str, ...], Splits]:
    """The attributes' names, and the rows of each split in the table's order.

    Raises `DataError` for a table that cannot be used; image files are not checked.
    """
    table = read_csv(config.file, config.separator, config.image_column)
    names = _attributes(table, config)
    rows = _rows(table, names, config, images)
    for n, name in enumerate(names):
        values = [row.values[n] for row in rows if row.values[n] is not None]
        count = len(set(values))
        # As many values as rows: ids, dates or free text rather than classes.
        if count > config.max_classes or (count > 1 and count == len(values)):
            raise DataError(
                f'{table.path}: column "{name}" has {count} different values in {len(values)} rows '
                f'(such as "{values[0]}"); {config.max_classes} are allowed, and some must occur '
                "twice.\nName the columns to predict in data.attributes, or set data.max_classes."
            )
    if config.split_column:
        given = table.splits(config.split_column, config.validation)
        splits: Splits = {name: [rows[number] for number in part] for name, part in given.items()}
    else:
        splits = _held_out(table, {"train": rows}, "test", config.test_share, config.split_seed)
    if config.validation:
        splits = _held_out(table, splits, "validation", config.validation, config.split_seed)
    return names, splits


def _attributes(table: CsvTable, config: AttributeTableConfig) -> tuple[str, ...]:
    others = {config.image_column, config.split_column, ""}
    names = config.attributes or tuple(name for name in table.columns if name not in others)
    table.column(config.image_column, "image_column")  # raises if there is none
    if not names:
        raise DataError(
            f'{table.path}:1: no column other than "{config.image_column}" and the split\'s. '
            "Add one for each attribute."
        )
    return names


def _rows(
    table: CsvTable, names: Sequence[str], config: AttributeTableConfig, images: ImageNames
) -> list[Row]:
    files = table.files(config.image_column, "image_column", images)
    columns = [table.column(name, "attributes") for name in names]
    rows: dict[str, Row] = {}
    for file, source in zip(files, table.rows, strict=True):
        location = table.location(source)
        cells = (source.cells[column] for column in columns)
        values = tuple(None if cell in config.missing else cell for cell in cells)
        row = Row(file, location, values)
        first = rows.setdefault(os.path.normpath(file), row)  # "./a.png" is "a.png"
        if first is not row:
            raise DataError(f"{location}: {file} is in {first.location} too. Keep one of the rows.")
    return list(rows.values())


def _held_out(table: CsvTable, splits: Splits, purpose: str, share: float, seed: int) -> Splits:
    rows = splits["train"]
    parts, names = [row.parts for row in rows], [row.name for row in rows]
    # By combination: each value of an attribute stays in train.
    kept, held = hold_out_combinations(parts, names, share, seed)
    if not held:
        raise DataError(
            f"{table.path}: none of {len(rows)} rows can be held out for {purpose} "
            f"(share {share}): a row stays if it is the last with one of its values.\n"
            "Add rows, or write the splits into a column (data.split_column)."
        )
    return {**splits, "train": [rows[p] for p in kept], purpose: [rows[p] for p in held]}
