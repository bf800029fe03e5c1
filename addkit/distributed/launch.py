"""Several training processes on this machine, started and watched by torchrun's elastic agent."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch

from addkit.distributed.signals import INTERRUPTED, TERMINATED
from addkit.errors import RunError, Stopped, UsageError
from addkit.recipe import Recipe

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


RUN = "ADDKIT_RUN"
"""Environment of a launched process: the run that was chosen for it."""
GRACE = "90"
"""Seconds in which processes may save before they are killed, where PyTorch lets us say so: a GPU
that waits for a lost one must not wait for long. The environment may say another number."""
PATIENCE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
PR_SET_PDEATHSIG = 1
EXIT_CODES = {2: 2, -signal.SIGTERM: TERMINATED}
"""Of this command for a process's; 1 for others."""


def processes_here(recipe: Recipe, asked: int | None) -> int:
    """Training processes on this machine: as asked, as the recipe says, or one for each GPU.

    Raises:
        UsageError: they would have to share a GPU, which NCCL refuses.
    """
    wanted, gpus = asked or recipe.distributed.processes_per_node, torch.cuda.device_count()
    if wanted == "auto":
        return max(gpus, 1)
    if 0 < gpus < wanted:
        raise UsageError(
            f"{wanted} processes need a GPU each, and this machine has {gpus}; give --processes "
            f"{gpus}, or set CUDA_VISIBLE_DEVICES to nothing to train on the CPU"
        )
    return wanted


def launch(words: Sequence[str], processes: int, run: Path) -> None:
    """Run `addkit WORDS` in so many processes; the first one has this terminal, others a log.

    Args:
        words: the command line that the processes read, too.
        processes: how many.
        run: what they train.

    Raises:
        RunError: a process failed; names its rank, its error and its log.
        Stopped: a signal came, and the processes have saved and left.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    # The agent's own log says in other words what is told here.
    logging.disable(logging.ERROR)
    os.environ |= _environment(processes, run)
    if hasattr(signal, "SIGUSR1"):
        # The agent passes on SIGTERM, but not every version of it this one.
        signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        elastic_launch(_config(processes, run), sys.executable)("-m", "addkit", *words)
    except SignalException as error:
        code = INTERRUPTED if error.sigval == signal.SIGINT else TERMINATED
        # The first process has said what is saved.
        raise Stopped("", code) from error
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=_blame)
        if failure.exitcode in (INTERRUPTED, TERMINATED):
            raise Stopped("", failure.exitcode) from error
        raise _told(rank, failure, processes, run) from error


def _environment(processes: int, run: Path) -> Mapping[str, str]:
    threads = max(1, (os.cpu_count() or 1) // processes)
    return {
        RUN: str(run.absolute()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        PATIENCE: os.environ.get(PATIENCE, GRACE),
    }


def _config(processes: int, run: Path) -> Any:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig

    logs = run / "logs"
    logs.mkdir(exist_ok=True)
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(
            log_dir=str(logs), redirects=dict.fromkeys(range(1, processes), Std.ALL)
        ),
    )


def _told(rank: int, failure: ProcessFailure, processes: int, run: Path) -> RunError:
    killed = failure.exitcode < 0 and not _own_error(failure)
    if killed:
        what = f"was killed by {signal.Signals(-failure.exitcode).name}"
    else:
        what = f"failed: {_message(failure)}"
    told = RunError(f"{run}: process {rank} of {processes} {what}{_log(run, rank)}")
    told.exit_code = EXIT_CODES.get(failure.exitcode, 1) if killed or failure.exitcode > 0 else 1
    return told


def _blame(failed: tuple[int, ProcessFailure]) -> tuple[bool, bool, int]:
    """First who was killed, then who had an error; last who ended because of another."""
    rank, failure = failed
    own, code = _own_error(failure), failure.exitcode
    asked = code in (INTERRUPTED, TERMINATED) or (code == -signal.SIGTERM and not own)
    return asked or "has lost another" in own, bool(own) or code >= 0, rank


def _own_error(failure: ProcessFailure) -> str:
    """What it left; also one that was still ending when the agent, for another's sake, ended it."""
    return _message(failure) if Path(failure.error_file).is_file() else ""


def _message(failure: ProcessFailure) -> str:
    told = failure.message
    return str(told.get("message", told) if isinstance(told, dict) else told).strip()


def _log(run: Path, rank: int) -> str:
    """Where what it wrote is; the first process wrote to the terminal."""
    logs = sorted(run.glob(f"logs/*/attempt_*/{rank}/stderr.log"), key=lambda f: f.stat().st_mtime)
    return f"; its log is {logs[-1]}" if logs and rank else ""


def report_failure(error: Exception) -> None:
    """Leave the error where the agent that started this process looks for it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


def die_with_parent() -> None:
    """End when the agent does, even by kill -9: nobody must go on writing to the run."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
