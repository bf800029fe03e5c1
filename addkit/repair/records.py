"""The records of a table: image files and the values that somebody has written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from addkit.data.settings import AttributeTableConfig
from addkit.data.tables import CsvTable, read_csv


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table."""

    index: int
    """Position among the table's rows."""
    line: int
    """Of the file, from 1."""
    image: Path
    values: tuple[str | None, ...]
    """Recorded value of each attribute; None where it is unknown."""


@dataclass(frozen=True, slots=True)
class Records:
    """All rows of a table and where its columns are."""

    table: CsvTable
    names: tuple[str, ...]
    """The attributes."""
    rows: tuple[Record, ...]


def read_records(config: AttributeTableConfig, names: Sequence[str] = ()) -> Records:
    """The records of the table that the settings name; image files are not checked.

    Args:
        config: file, columns and cells that mark an unknown value.
        names: attributes; by default the settings', else all columns but the image's and the
            split's.

    Raises:
        DataError: a broken table, or a column that it lacks.
    """
    file = config.file.expanduser()
    table = read_csv(file, config.separator, config.image_column)
    others = {config.image_column, config.split_column, ""}
    names = names or config.attributes
    names = tuple(names) or tuple(name for name in table.columns if name not in others)
    image = table.column(config.image_column, "image_column")
    columns = [table.column(name, "attributes") for name in names]
    root = config.root.expanduser() if config.root else file.parent
    rows = tuple(
        Record(
            index,
            row.line,
            root / row.cells[image],
            tuple(
                None if row.cells[place] in config.missing else row.cells[place]
                for place in columns
            ),
        )
        for index, row in enumerate(table.rows)
    )
    return Records(table, names, rows)
