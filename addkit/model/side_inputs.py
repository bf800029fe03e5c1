"""Side inputs that a user gives with images, as the conditioner reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from torch import Tensor

from addkit.data.side_inputs import encoded
from addkit.errors import DataError, UsageError, guess
from addkit.plugin.facts import Column, SideInputs

Known: TypeAlias = "Mapping[str, str | Tensor | tuple[str, ...]]"
"""Values by column: a text that counts for all images, or one row for each image."""


class SideInputRows:
    """Splits side inputs into batches, in the order of the images.

    Args:
        columns: those of the run's data.
        values: by column; a text is encoded as the data set does it.

    Raises:
        UsageError: an unknown column, or not a value of it.
    """

    def __init__(self, columns: Sequence[Column], values: Known) -> None:
        by_name = {column.name: column for column in columns}
        self._shared: SideInputs = {}
        self._rows: dict[str, Tensor | tuple[str, ...]] = {}
        self._start = 0
        for name, value in values.items():
            if name not in by_name:
                raise UsageError(
                    f'no column "{name}"{guess(name, by_name)}; this run reads: '
                    f"{', '.join(by_name)}"
                )
            if not isinstance(value, str):
                self._rows[name] = value
                continue
            try:
                # One row; `take` repeats it.
                self._shared = {**self._shared, name: encoded(by_name[name], [value])}
            except DataError as error:
                # A wrong value in a file is a DataError; here a user has typed it.
                raise UsageError(str(error)) from None

    def take(self, count: int) -> SideInputs:
        """Rows of the next `count` images; `UsageError` if a column has fewer."""
        batch: dict[str, Tensor | tuple[str, ...]] = {}
        for name, rows in self._rows.items():
            batch[name] = rows[self._start : self._start + count]
            if len(batch[name]) < count:
                raise UsageError(f'side inputs: "{name}" has {len(rows)} rows, too few')
        for name, row in self._shared.items():
            # `expand` copies nothing; a tuple of references costs next to nothing either.
            batch[name] = row.expand(count) if isinstance(row, Tensor) else row * count
        self._start += count
        return batch
