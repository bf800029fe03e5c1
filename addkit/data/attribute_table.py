"""The user's own images with several labels each, from a CSV file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence

from torch import Tensor

from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.folders import shortened
from addkit.data.listed_images import ListedImages, hold_out_listed
from addkit.data.overview import Contents, numbers_doubt
from addkit.data.settings import AttributeTableConfig, DataWarning
from addkit.data.shards import open_store
from addkit.data.tables import CsvTable, ImageNames, read_csv
from addkit.errors import DataError, guess

Splits = Mapping[str, Sequence[Row]]


class AttributeTable(ListedImages[Row]):
    """Images named in a table that has a column for each attribute.

    The classes of an attribute are the values that its training rows have. Building reads the
    table and lists the images.
    """

    def __init__(self, config: AttributeTableConfig) -> None:
        """Raises `DataError` for a table that cannot be used."""
        file = config.file.expanduser()
        root = config.root.expanduser() if config.root else file.parent
        store = open_store(root)
        table = store.file(file)
        self.side_files = (table,)
        # From the copy next to the shards, if there are any.
        config = config.model_copy(update={"file": table})
        images = ImageNames(table, store, root, "data.root")
        names, splits = read_splits(config, images)
        # From train alone, so that test data do not change the network.
        self._attributes = Attributes.learn(names, splits["train"])
        self._config = config
        facts = joint_facts(config, self._attributes, splits, store.reads((table,)))
        super().__init__(facts, store, root, table, splits, config.bad_files)
        self._check_values()
        rows = [row for part in splits.values() for row in part]
        images.refuse_missing({row.name: row.location for row in rows}, config.bad_files == "skip")

    def contents(self) -> Contents:
        """The rows' images, unread, with a doubt on each attribute of numbers."""
        paths = {name: [*map(self.path, rows)] for name, rows in self.listed.items()}
        labels = {name: self.labels(rows) for name, rows in self.listed.items()}
        columns = zip(self._attributes.names, self._attributes.values, strict=True)
        doubts = (doubt for column in columns for doubt in numbers_doubt(self.listed_in, *column))
        return Contents(self.store, paths, labels, tuple(doubts))

    def labels(self, images: Sequence[Row]) -> Tensor:
        """Class ids (n, N), `MISSING` where unknown."""
        return self._attributes.labels(images)

    def check_train(self, images: Sequence[Row]) -> None:
        """Raise `DataError` if a value has no readable training image."""
        # The vocabulary was learned from all training rows; each class still needs an image.
        seen = [{row.values[n] for row in images} for n in range(len(self._attributes.names))]
        columns = zip(self._attributes.names, self._attributes.values, seen, strict=True)
        gone = [f'{name} "{v}"' for name, values, left in columns for v in values if v not in left]
        if gone:
            raise DataError(
                f"{self.listed_in}: no readable training image with {', '.join(gone)}.\n"
                "Add images, or remove the rows with these values."
            )

    def _check_values(self) -> None:
        attributes = self._attributes
        for name, values in zip(attributes.names, attributes.values, strict=True):
            if not values:
                raise DataError(
                    f'{self.listed_in}: column "{name}" has no value in any training row. '
                    "Fill some in, or leave it out of data.attributes."
                )
            if len(values) == 1:  # trains, yet teaches nothing: a warning, no error
                warnings.warn(
                    f'{self.listed_in}: column "{name}" has one value in training, "{values[0]}": '
                    "there is nothing to distinguish",
                    DataWarning,
                    stacklevel=2,
                )
        if self._config.unknown_values != "stop":
            return
        unknown = [
            f'{row.location}: "{row.values[n]}" in column "{attributes.names[n]}"'
            f"{guess(str(row.values[n]), attributes.values[n])}"
            for rows in self.listed.values()
            for row in rows
            for n in attributes.unknown(row)
        ]
        if unknown:
            raise DataError(
                f"{self.listed_in}: values that no training row has:\n  {shortened(unknown)}\n"
                'Correct them, or set data.unknown_values = "missing" to leave them out of scores.'
            )


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
        splits = hold_out_listed(
            table.path, {"train": rows}, "test", config.test_share, config.split_seed
        )
    if config.validation:
        splits = hold_out_listed(
            table.path, splits, "validation", config.validation, config.split_seed
        )
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
