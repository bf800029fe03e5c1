"""Kinds, categories, means and deviations of columns, learned from training rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from addkit.data.side_inputs import encoded, number_in
from addkit.errors import DataError
from addkit.plugin.values import Column, SideInputs

_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one column; None where the value is missing."""

    name: str
    values: Sequence[str | None]
    lines: Sequence[int]
    """Line of each cell in the file, for error messages."""

    def at(self, positions: Sequence[int]) -> Cells:
        """The cells of these rows."""
        values = [self.values[position] for position in positions]
        return Cells(self.name, values, [self.lines[position] for position in positions])


def learn_columns(cells: Sequence[Cells], kinds: Mapping[str, str], table: Path) -> list[Column]:
    """Learn each column: of the kind in `kinds`, else a number if most of its cells are numbers.

    Raises:
        DataError: a column without a value, or a number column with a cell that is none; names
            file, line and column.
    """
    return [_learn(column, kinds.get(column.name), table) for column in cells]


def _learn(cells: Cells, kind: str | None, table: Path) -> Column:
    values = [value for value in cells.values if value is not None]
    if not values:
        raise DataError(
            f'{table}: column "{cells.name}" has no value in any training row. Fill some in, or '
            "name the columns to read in data.columns."
        )
    numbers = [number for number in map(number_in, values) if number is not None]
    comma = [value for value in values if number_in(value) is None and _COMMA.fullmatch(value)]
    if kind != "category" and comma and 2 * (len(numbers) + len(comma)) > len(values):
        line = cells.lines[cells.values.index(comma[0])]
        raise DataError(
            f'{table}:{line}: "{comma[0]}" in column "{cells.name}" seems to be a number with a '
            f'decimal comma. Write decimal points, or columns.{cells.name} = "category".'
        )
    if kind == "category" or (kind is None and 2 * len(numbers) <= len(values)):
        return Column(cells.name, "category", tuple(sorted(set(values))))
    _refuse_words(cells, table)
    column = torch.tensor(numbers, dtype=torch.float64)  # (n,)
    # A constant column has deviation 0, by which it could not be divided.
    spread = float(column.std(correction=0)) or 1.0
    return Column(cells.name, "number", mean=float(column.mean()), std=spread)


def _refuse_words(cells: Cells, table: Path) -> None:
    for value, line in zip(cells.values, cells.lines, strict=True):
        if value is not None and number_in(value) is None:
            raise DataError(
                f'{table}:{line}: "{value}" in column "{cells.name}" is no number, and the column '
                "contains numbers. Correct it, add it to data.missing, or write "
                f'columns.{cells.name} = "category".'
            )


def side_inputs_of(
    columns: Sequence[Column], cells: Sequence[Cells], table: Path, unknown: str
) -> SideInputs:
    """Encode cells for batches; with `unknown = "missing"` a new category counts as missing.

    Raises:
        DataError: a cell of another kind or of an unknown category; names file, line and column.
    """
    return {
        column.name: encoded(column, _allowed(column, its_cells, table, unknown))
        for column, its_cells in zip(columns, cells, strict=True)
    }


def _allowed(column: Column, cells: Cells, table: Path, unknown: str) -> list[str | None]:
    if column.kind == "number":
        _refuse_words(cells, table)
        return list(cells.values)
    rows = zip(cells.values, cells.lines, strict=True)
    return [_category(column, value, f"{table}:{line}", unknown) for value, line in rows]


def _category(column: Column, value: str | None, location: str, unknown: str) -> str | None:
    if value is None or value in column.categories:
        return value
    if unknown == "missing":
        return None
    # One cell alone, so that the error can name its line.
    try:
        encoded(column, [value])
    except DataError as error:
        raise DataError(
            f'{location}: {error}.\nCorrect it, or set data.unknown_categories = "missing".'
        ) from None
    return value
