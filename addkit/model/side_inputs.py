"""What a user knows beside images, as the network reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from torch import Tensor

from addkit.data.side_inputs import encoded
from addkit.errors import DataError, UsageError, guess
from addkit.plugin.facts import Column, SideInputs

Known: TypeAlias = "Mapping[str, str | Tensor | tuple[str, ...]]"
"""By column: one value for all images as a person writes it, or a row for each as batches hold."""


class SideInputRows:
    """What is known beside a series of images, handed out batch by batch.

    Raises:
        UsageError: no such column, or not a value of it.
    """

    def __init__(self, columns: Sequence[Column], known: Known) -> None:
        by_name = {column.name: column for column in columns}
        for name in known:
            if name not in by_name:
                raise UsageError(
                    f'no column "{name}"{guess(name, by_name)}; this run knows: '
                    f"{', '.join(by_name)}"
                )
        self._one = {n: _read(by_name[n], v) for n, v in known.items() if isinstance(v, str)}
        self._each = {n: v for n, v in known.items() if not isinstance(v, str)}
        self._taken = 0

    def take(self, count: int) -> SideInputs:
        """Of the next `count` images. Raises `UsageError` if a column has fewer rows."""
        begin, self._taken = self._taken, self._taken + count
        rows = {name: value[begin : begin + count] for name, value in self._each.items()}
        for name, value in rows.items():
            if len(value) < count:
                raise UsageError(f'beside: "{name}" has {len(self._each[name])} rows, too few')
        one = {name: _repeated(value, count) for name, value in self._one.items()}
        return {**rows, **one}


def _read(column: Column, value: str) -> Tensor | tuple[str, ...]:
    try:
        return encoded(column, [value])
    except DataError as error:
        raise UsageError(str(error)) from None


def _repeated(value: Tensor | tuple[str, ...], count: int) -> Tensor | tuple[str, ...]:
    return value.expand(count) if isinstance(value, Tensor) else value * count
