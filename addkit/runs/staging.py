"""Copies of tensors in host memory, made in buffers that are used again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Groups = Mapping[str, Mapping[str, Tensor]]
"""File name without ending -> tensors by name."""


class Staging:
    """Host memory for one set of tensors; kept, since to get new memory costs more than the copy.

    Copies from a GPU go into pinned memory and run behind the work that its current stream has
    been given, before what it will be given: the caller need not wait, and sees no difference.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], Tensor] = {}
        self._marks: list[torch.cuda.Event] = []

    def copy(self, groups: Groups) -> Groups:
        """The same groups in this memory, contiguous. Whole once `wait` returns."""
        self._buffers = {
            (file, name): _copied(value.detach(), self._buffers.get((file, name)))
            for file, group in groups.items()
            for name, value in group.items()
        }
        self._marks = list(_marks(groups))
        return {
            file: {name: self._buffers[file, name] for name in group}
            for file, group in groups.items()
        }

    def wait(self) -> None:
        """Until copies from GPUs have arrived; may be called in another thread."""
        for mark in self._marks:
            mark.synchronize()


def _copied(value: Tensor, buffer: Tensor | None) -> Tensor:
    if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
        buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
    if value.is_cpu and value.is_contiguous():
        np.copyto(_bytes(buffer), _bytes(value))
        return buffer
    return buffer.copy_(value, non_blocking=True)


def _bytes(value: Tensor) -> Any:
    """As numpy copies them: in one thread, which fills the memory's bandwidth by itself.

    torch would start its threads for each tensor, and wait for the last of them each time: ten
    times slower where other processes compute too.
    """
    return value.flatten().view(torch.uint8).numpy()


def _marks(groups: Groups) -> Iterator[torch.cuda.Event]:
    """A mark behind the copies in the stream of each GPU."""
    values = [value for group in groups.values() for value in group.values()]
    for device in {value.device for value in values if value.is_cuda}:
        mark = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        mark.record(torch.cuda.current_stream(device))
        yield mark
