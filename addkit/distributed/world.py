"""The processes of one training and their collective operations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from addkit.distributed.signals import ended_by_signals
from addkit.errors import RunError, UsageError

T = TypeVar("T")

LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed out|clients joined",
    re.IGNORECASE,
)
"""Words in the errors of PyTorch's backends when another process has ended."""
SILENCE = 1.0
"""Seconds until a process that waits for others reports it."""
SHELLS = ("bash", "interactive")
"""Names of SLURM's jobs that are a user's shell."""
FIRST_PORT, PORTS = 20_000, 20_000
"""Range of ports for SLURM jobs: each derives its own from the job's number."""


@dataclass(frozen=True, slots=True)
class World:
    """Rank and number of training processes. A world of one sends nothing."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """On this machine; also the number of its GPU."""
    local_size: int = 1

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> World:
        """The world that torchrun's variables describe. `UsageError` where some are missing."""
        names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        missing = [name for name in names if name not in variables]
        if missing:
            raise UsageError(
                f"{', '.join(missing)} not set: a process of a distributed training needs "
                f"{', '.join(names)}; start it with torchrun, with srun, or with --processes"
            )
        rank, size = int(variables["RANK"]), int(variables["WORLD_SIZE"])
        local_size = int(variables.get("LOCAL_WORLD_SIZE", "1"))
        return cls(rank, size, int(variables.get("LOCAL_RANK", rank % local_size)), local_size)

    @property
    def is_main(self) -> bool:
        """True for rank 0, which alone writes and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_async(self, values: Tensor) -> dist.Work | None:
        """Begin `sum`; `values` are the result after `wait` of the work, or at once if None."""
        return dist.all_reduce(values, async_op=True) if self.size > 1 else None

    def broadcast(self, value: T) -> T:
        """Broadcast rank 0's value to all ranks."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def all_gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order, on each rank."""
        if self.size == 1:
            return [value]
        boxes: list[T | None] = [None] * self.size
        dist.all_gather_object(boxes, value)
        return cast("list[T]", boxes)

    def all_gather_tensor(self, values: Tensor) -> Tensor:
        """The tensors of all ranks, which have one shape, (size, ...)."""
        if self.size == 1:
            return values.unsqueeze(0)
        # Gathered by copy: the inputs keep their own memory.
        out = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(out, values.contiguous())
        return torch.stack(out)  # (P, ...)

    def barrier(self) -> None:
        """Wait until all processes have called it."""
        if self.size > 1:
            dist.barrier()


def inside(environment: Mapping[str, str] | None = None) -> bool:
    """True if torchrun or SLURM's srun has started this process as one of several, or of one."""
    variables = os.environ if environment is None else environment
    return ("RANK" in variables and "WORLD_SIZE" in variables) or _in_slurm_step(variables)


def _in_slurm_step(variables: Mapping[str, str]) -> bool:
    # Only a step of several tasks: a batch script itself has a SLURM_PROCID, too.
    tasks = int(variables.get("SLURM_STEP_NUM_TASKS", "1"))
    return "SLURM_PROCID" in variables and tasks > 1 and not _typed_into_a_shell(variables)


def _typed_into_a_shell(variables: Mapping[str, str]) -> bool:
    """True in a shell that SLURM has opened as the first of several tasks (`srun --pty bash`)."""
    if variables.get("SLURM_JOB_NAME") not in SHELLS:
        return False
    # The name alone could be that of a job within which srun starts all the tasks; those have no
    # terminal.
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return "SLURM_PTY_PORT" in variables
    return True


@contextmanager
def joined(device: str, report: Callable[[str], None] = print) -> Iterator[World]:
    """The world that the environment describes; a world of one where it describes none.

    Args:
        device: `cuda` communicates over NCCL, each process on its own GPU; else over gloo.
        report: gets a line where other processes are waited for.

    Raises:
        UsageError: the environment is incomplete.
        RunError: within, another process has ended.
    """
    if not inside():
        yield World()
        return
    count = "WORLD_SIZE"
    if _in_slurm_step(os.environ) and "RANK" not in os.environ:
        describe_slurm(os.environ)
        count = "SLURM_STEP_NUM_TASKS"
    world = World.of(os.environ)
    if device == "cuda":
        # SLURM may show each process one GPU alone.
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
    meeting = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    message = (
        f"waiting for {world.size - 1} more processes ({count}={os.environ[count]}) at {meeting}; "
        f"to train alone, unset {count}"
    )
    timer = Timer(SILENCE, report, [message])
    timer.daemon = True
    # One process of each machine is enough.
    if world.local_rank == 0:
        timer.start()
    try:
        # gloo also serves a GPU-less machine with several processes, as the tests have. While it
        # waits for the others, no handler of a signal in Python would run.
        with ended_by_signals():
            dist.init_process_group("nccl" if device == "cuda" else "gloo")
        timer.cancel()
        yield world
    except RuntimeError as error:
        if not LOST.search(str(error)):
            raise
        # The other process's own error is the one to read.
        raise RunError(
            f"process {world.rank} of {world.size} has lost another one, which ended; "
            "its own error says why"
        ) from error
    finally:
        timer.cancel()
        if dist.is_initialized():
            dist.destroy_process_group()


def describe_slurm(variables: MutableMapping[str, str]) -> None:
    """Set torchrun's variables from those of srun."""
    # `2(x3),1`: two tasks on each of three nodes, and one on a fourth.
    tasks = re.match(r"\d+", variables.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    job = int(variables.get("SLURM_JOB_ID", "0"))
    variables["RANK"] = variables["SLURM_PROCID"]
    variables["WORLD_SIZE"] = variables["SLURM_STEP_NUM_TASKS"]
    variables["LOCAL_RANK"] = variables["SLURM_LOCALID"]
    variables["LOCAL_WORLD_SIZE"] = tasks.group() if tasks else "1"
    nodes = variables.get("SLURM_STEP_NODELIST", variables.get("SLURM_JOB_NODELIST", "localhost"))
    # Not over a user's own: a cluster may allow other hosts and ports alone.
    variables.setdefault("MASTER_ADDR", first_host(nodes))
    variables.setdefault("MASTER_PORT", str(FIRST_PORT + job % PORTS))


def first_host(nodes: str) -> str:
    """The first name of a SLURM node list: `gpu[03-07,9],cpu1` -> `gpu03`."""
    # Without `scontrol show hostnames`, which containers often lack.
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", nodes).split(",")[0]
