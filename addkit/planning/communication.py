"""What travels between processes in a step, counted on a cluster that is not there.

PyTorch's fake process group answers every message at once, and fake tensors have sizes and no
memory, so one process of any number builds the very model that a cluster would train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

from addkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that each process sends, if messages go round in a ring."""

    gathered: int
    """Weights, in the forward and the backward pass of one micro-batch."""
    reduced: int
    """Gradients, once in a step."""

    def of_step(self, accumulation: int) -> int:
        """In one optimizer step of so many micro-batches."""
        return accumulation * self.gathered + self.reduced


def all_reduced(gradients: int, processes: int) -> Traffic:
    """A ring all-reduce, as DDP's: 2 (P - 1) / P of the gradients' bytes."""
    return Traffic(0, 2 * gradients * (processes - 1) // processes)


class Wire(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts all-gathers and reduce-scatters: (P - 1) / P of the whole tensor's bytes each."""

    def __init__(self, processes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.processes = processes
        self.bytes = {"gather": 0, "scatter": 0}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func.namespace == "c10d":
            self._count(func.name(), args)
        return func(*args, **(kwargs or {}))

    def _count(self, name: str, args: tuple[Any, ...]) -> None:
        """The output comes first and then the input; the longer of them is the whole."""
        whole = max(_bytes(args[0]), _bytes(args[1]))
        for kind in self.bytes:
            if kind in name:
                self.bytes[kind] += whole * (self.processes - 1) // self.processes

    @property
    def traffic(self) -> Traffic:
        """What was counted so far."""
        return Traffic(self.bytes["gather"], self.bytes["scatter"])


def _bytes(tensor: object) -> int:
    return tensor.numel() * tensor.element_size() if isinstance(tensor, Tensor) else 0


@contextmanager
def pretended(processes: int) -> Iterator[DeviceMesh]:
    """Be process 0 of so many, which do not exist.

    Raises:
        UsageError: this PyTorch has no fake process group.
    """
    store = _fake_store()
    distributed.init_process_group("fake", store=store(), rank=0, world_size=processes)
    try:
        yield init_device_mesh("cpu", (processes,))
    finally:
        distributed.destroy_process_group()


def _fake_store() -> Callable[[], Any]:
    """PyTorch's own tests have it, and nothing public: this is the one place that knows."""
    try:
        from torch.testing._internal.distributed.fake_pg import FakeStore
    except ImportError as error:
        raise UsageError(
            f"PyTorch {torch.__version__} has no fake process group, so a dry run cannot spread a "
            'network over processes that are not there; with distributed.strategy = "ddp" it can'
        ) from error
    store: Callable[[], Any] = FakeStore
    return store
