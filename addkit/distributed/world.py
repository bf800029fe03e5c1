"""The processes of one training, and what they tell each other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from addkit.errors import RunError, UsageError

T = TypeVar("T")

LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe", re.IGNORECASE)
"""In the errors of PyTorch's engines where another process has gone."""
FIRST_PORT, PORTS = 20_000, 20_000
"""Where SLURM jobs meet: a port that follows from the job's number."""


@dataclass(frozen=True, slots=True)
class World:
    """Which of how many training processes this is. A world of one talks to nobody."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """On this machine; also the number of its GPU."""
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """True for the one process that writes and shows."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_async(self, values: Tensor) -> Callable[[], Tensor]:
        """`sum` that travels while this process goes on; what comes back waits for it."""
        message = dist.all_reduce(values, async_op=True) if self.size > 1 else None

        def arrived() -> Tensor:
            if message is not None:
                message.wait()
            return values

        return arrived

    def broadcast(self, value: T) -> T:
        """What the leader passed, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """What every process passed, in the order of ranks, on each of them."""
        if self.size == 1:
            return [value]
        boxes: list[T | None] = [None] * self.size
        dist.all_gather_object(boxes, value)
        return cast("list[T]", boxes)

    def all_gather_tensor(self, values: Tensor) -> Tensor:
        """Tensors of one shape, one for each process, (size, ...)."""
        if self.size == 1:
            return values.unsqueeze(0)
        out = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(out, values.contiguous())
        return torch.stack(out)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


def inside(environment: Mapping[str, str] | None = None) -> bool:
    """True if torchrun or SLURM's srun has started this process as one of several, or of one."""
    known = os.environ if environment is None else environment
    return ("RANK" in known and "WORLD_SIZE" in known) or _of_slurm(known)


def _of_slurm(known: Mapping[str, str]) -> bool:
    """Only within a step of several tasks: a batch script itself has a SLURM_PROCID, too."""
    return "SLURM_PROCID" in known and int(known.get("SLURM_STEP_NUM_TASKS", "1")) > 1


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that the environment describes; a world of one where it describes none.

    Args:
        device: `cuda` meets over NCCL, each process on its own GPU; else over gloo.

    Raises:
        UsageError: the environment is incomplete.
        RunError: within, another process has gone.
    """
    if not inside():
        yield World()
        return
    if _of_slurm(os.environ) and "RANK" not in os.environ:
        describe_slurm(os.environ)
    world = _described(os.environ)
    if device == "cuda":
        # SLURM may show each process one GPU alone.
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        with _together(world):
            yield world
    finally:
        dist.destroy_process_group()


@contextmanager
def _together(world: World) -> Iterator[None]:
    """Where another process has gone, say so: its own error is the one to read."""
    try:
        yield
    except RuntimeError as error:
        if not LOST.search(str(error)):
            raise
        raise RunError(
            f"process {world.rank} of {world.size} has lost another one, which ended; "
            "its own error says why"
        ) from error


def _described(known: Mapping[str, str]) -> World:
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not set: a process of a distributed training needs "
            f"{', '.join(names)}; start it with torchrun, with srun, or with --processes"
        )
    rank, size = int(known["RANK"]), int(known["WORLD_SIZE"])
    local_size = int(known.get("LOCAL_WORLD_SIZE", "1"))
    return World(rank, size, int(known.get("LOCAL_RANK", rank % local_size)), local_size)


def describe_slurm(known: MutableMapping[str, str]) -> None:
    """Say in torchrun's words what srun says in its own."""
    tasks = re.match(r"\d+", known.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    job = int(known.get("SLURM_JOB_ID", "0"))
    known["RANK"] = known["SLURM_PROCID"]
    known["WORLD_SIZE"] = known["SLURM_STEP_NUM_TASKS"]
    known["LOCAL_RANK"] = known["SLURM_LOCALID"]
    known["LOCAL_WORLD_SIZE"] = tasks.group() if tasks else "1"
    nodes = known.get("SLURM_STEP_NODELIST", known.get("SLURM_JOB_NODELIST", "localhost"))
    known.setdefault("MASTER_ADDR", first_host(nodes))
    known.setdefault("MASTER_PORT", str(FIRST_PORT + job % PORTS))


def first_host(nodes: str) -> str:
    """The first name of a SLURM node list: `gpu[03-07,9],cpu1` -> `gpu03`."""
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", nodes).split(",")[0]
