"""What stands beside images: numbers, categories and texts, any of them missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from addkit.plugin.facts import Column, SideInputs


NO_CATEGORY = -1
"""Where a category is missing."""


def completed(
    side_inputs: SideInputs, columns: Sequence[Column], count: int, device: torch.device
) -> SideInputs:
    """Each of the columns for `count` images, on the device; missing where it is not given."""
    return {column.name: _given(side_inputs, column, count, device) for column in columns}


def _given(
    side_inputs: SideInputs, column: Column, count: int, device: torch.device
) -> Tensor | tuple[str, ...]:
    value = side_inputs.get(column.name)
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
