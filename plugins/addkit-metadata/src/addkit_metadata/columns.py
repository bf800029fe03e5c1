"""What a table's columns hold, learnt from its training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from addkit.data.side_inputs import encoded, number_in
from addkit.errors import DataError
from addkit.plugin.facts import Column, SideInputs


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one column; None where nobody knows."""

    name: str
    values: Sequence[str | None]
    lines: Sequence[int]

    def at(self, positions: Sequence[int]) -> Cells:
        """Those of these rows."""
        values = [self.values[position] for position in positions]
        return Cells(self.name, values, [self.lines[position] for position in positions])


def learn_columns(cells: Sequence[Cells], kinds: Mapping[str, str], table: Path) -> list[Column]:
    """What each column holds: as `kinds` say, else a number if most of its cells are one.

    Raises:
        DataError: a column without a value, or a number column with a cell that is none; names
            file, line and column.
    """
    return [_learnt(one, kinds.get(one.name), table) for one in cells]


def _learnt(cells: Cells, kind: str | None, table: Path) -> Column:
    known = [value for value in cells.values if value is not None]
    if not known:
        raise DataError(
            f'{table}: column "{cells.name}" has no value in any training row. Fill some in, or '
            "name the columns to hand out in data.columns."
        )
    numbers = [number for number in map(number_in, known) if number is not None]
    if kind == "category" or (kind is None and 2 * len(numbers) <= len(known)):
        return Column(cells.name, "category", tuple(sorted(set(known))))
    _refuse_words(cells, table)
    values = torch.tensor(numbers, dtype=torch.float64)
    spread = float(values.std(correction=0))
    return Column(cells.name, "number", mean=float(values.mean()), std=spread or 1.0)


def _refuse_words(cells: Cells, table: Path) -> None:
    for value, line in zip(cells.values, cells.lines, strict=True):
        if value is not None and number_in(value) is None:
            raise DataError(
                f'{table}:{line}: "{value}" in column "{cells.name}" is no number, and the column '
                "holds numbers. Correct it, add it to data.missing, or write "
                f'columns.{cells.name} = "category".'
            )


def side_inputs_of(
    columns: Sequence[Column], cells: Sequence[Cells], table: Path, unknown: str
) -> SideInputs:
    """Rows as batches hold them; with `unknown = "missing"` a new category counts as missing.

    Raises:
        DataError: a cell that the column cannot hold; names file, line and column.
    """
    return {
        column.name: encoded(column, _allowed(column, one, table, unknown))
        for column, one in zip(columns, cells, strict=True)
    }


def _allowed(column: Column, cells: Cells, table: Path, unknown: str) -> list[str | None]:
    if column.kind == "number":
        _refuse_words(cells, table)
        return list(cells.values)
    rows = zip(cells.values, cells.lines, strict=True)
    return [_category(column, value, f"{table}:{line}", unknown) for value, line in rows]


def _category(column: Column, value: str | None, place: str, unknown: str) -> str | None:
    if value is None or value in column.categories:
        return value
    if unknown == "missing":
        return None
    try:
        encoded(column, [value])
    except DataError as error:
        raise DataError(
            f'{place}: {error}.\nCorrect it, or set data.unknown_categories = "missing".'
        ) from None
    return value
