"""What stands beside images: numbers, categories and texts, any of them missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from addkit.plugin.protocols import Beside, Column

__all__ = ["NO_CATEGORY", "completed"]

NO_CATEGORY = -1
"""Where a category is missing."""


def completed(
    beside: Beside, columns: Sequence[Column], count: int, device: torch.device
) -> Beside:
    """Each of the columns for `count` images, on the device; missing where it is not given."""
    return {column.name: _given(beside, column, count, device) for column in columns}


def _given(
    beside: Beside, column: Column, count: int, device: torch.device
) -> Tensor | tuple[str, ...]:
    value = beside.get(column.name)
    if value is None:
        value = _missing(column, count)
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


def _missing(column: Column, count: int) -> Tensor | tuple[str, ...]:
    match column.kind:
        case "text":
            return ("",) * count
        case "category":
            return torch.full((count,), NO_CATEGORY)
        case "number":
            return torch.full((count,), torch.nan)
