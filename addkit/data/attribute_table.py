"""The user's own images with several labels each, from a CSV file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from addkit.data import DataWarning
from addkit.data.attribute_rows import read_splits
from addkit.data.attributes import Attributes, Row, joint_facts
from addkit.data.augment import Augmenter
from addkit.data.file_images import FileImages
from addkit.data.folders import Listing
from addkit.data.joint_settings import AttributeTableConfig
from addkit.data.shards import open_store
from addkit.data.source import Source
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
