"""From a table to the rows of each split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from addkit.data.attributes import Row
from addkit.data.combinations import hold_out_combinations
from addkit.data.csv_rows import CsvRow, CsvTable, read_csv
from addkit.data.joint_settings import AttributeTableConfig
from addkit.errors import DataError
from addkit.plugin.guess import guess

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
