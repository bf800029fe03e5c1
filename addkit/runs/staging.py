"""Copies of tensors in host memory, made in buffers that are used again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Groups = Mapping[str, Mapping[str, Tensor]]
"""File name without ending -> tensors by name."""


class Staging:
    """Host memory for one set of tensors, reused: allocating it again costs more than the copy.

    Copies from a GPU go into pinned memory, in the order of its current stream: after the work that
    is queued and before any that follows, so that the caller may change the tensors without
    waiting.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, str], Tensor] = {}
        self._events: list[torch.cuda.Event] = []

    def copy(self, groups: Groups) -> Groups:
        """The same groups in this memory, contiguous; complete once `wait` returns."""
        self._buffers = {
            (file, name): _copied(value.detach(), self._buffers.get((file, name)))
            for file, group in groups.items()
            for name, value in group.items()
        }
        # An event behind the copies in the stream of each GPU.
        values = [value for group in groups.values() for value in group.values()]
        self._events = []
        for device in {value.device for value in values if value.is_cuda}:
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(device))
            self._events.append(event)
        return {
            file: {name: self._buffers[file, name] for name in group}
            for file, group in groups.items()
        }

    def wait(self) -> None:
        """Wait until copies from GPUs are complete; may be called in another thread."""
        # Events, not torch.cuda.synchronize: work queued after the copies need not end.
        for event in self._events:
            event.synchronize()


def _copied(value: Tensor, buffer: Tensor | None) -> Tensor:
    # The first copy of this tensor, or its shape has changed.
    if buffer is None or buffer.shape != value.shape or buffer.dtype != value.dtype:
        buffer = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
    if value.is_cpu and value.is_contiguous():
        # numpy copies in one thread, which fills the memory's bandwidth by itself. torch would
        # start its threads for each tensor and wait for the last of them each time: ten times
        # slower where other processes compute too.
        source, target = (each.flatten().view(torch.uint8).numpy() for each in (value, buffer))
        np.copyto(target, source)
        return buffer
    return buffer.copy_(value, non_blocking=True)
