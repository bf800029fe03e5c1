"""Several training processes on this machine, started and watched by torchrun's elastic agent."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from addkit.distributed.signals import EXIT_CODES, TERMINATED, exit_code_of, handled_numbers
from addkit.errors import RunError, Stopped, UsageError
from addkit.recipe import Recipe
from addkit.runs.disk import disk_errors

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


RUN = "ADDKIT_RUN"
"""Environment variable of a launched process: the run that was chosen for it."""
GRACE = "90"
"""Seconds in which processes may save before they are killed, if the environment sets no other
number: a GPU that waits for a lost one must not wait for long."""
SHUTDOWN_TIMEOUT = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
PR_SET_PDEATHSIG = 1


def processes_here(recipe: Recipe, requested: int | None) -> int:
    """Training processes on this machine: as requested, the recipe's, or one for each GPU. Raises
    `UsageError` if they would have to share a GPU, which NCCL refuses.
    """
    processes = requested or recipe.distributed.processes_per_node
    gpus = torch.cuda.device_count()
    if processes == "auto":
        return max(gpus, 1)
    if 0 < gpus < processes:
        raise UsageError(
            f"{processes} processes need a GPU each, and this machine has {gpus}; give --processes "
            f"{gpus}, or set CUDA_VISIBLE_DEVICES to nothing to train on the CPU"
        )
    return processes


def launch(words: Sequence[str], processes: int, run: Path) -> None:
    """Run `addkit WORDS` in so many processes; the first one has this terminal, others a log.

    Args:
        words: the command line, which the processes read, too.
        processes: how many.
        run: what they train.

    Raises:
        RunError: a process failed; names its rank, its error and its log.
        Stopped: a signal came, and the processes have saved and left.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The agent's own log repeats in other words the error that is raised here.
    logging.disable(logging.ERROR)
    # Each process would otherwise compute with a thread for every core of the machine.
    threads = max(1, (os.cpu_count() or 1) // processes)
    os.environ[RUN] = str(run.absolute())
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault(SHUTDOWN_TIMEOUT, GRACE)
    logs = run / "logs"
    with disk_errors(logs):
        logs.mkdir(exist_ok=True)
    redirects = dict.fromkeys(range(1, processes), Std.ALL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        # Port 0: the system picks a free one, so that trainings side by side do not collide.
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        signals_to_handle=",".join(signal.Signals(number).name for number in handled_numbers()),
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=redirects),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "addkit", *words)
    except SignalException as error:
        # Rank 0 has printed what is saved.
        raise Stopped("", exit_code_of(error.sigval)) from error
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=_blame)
        if failure.exitcode in EXIT_CODES:
            raise Stopped("", failure.exitcode) from error
        raise _run_error(rank, failure, processes, run) from error


def _run_error(rank: int, failure: ProcessFailure, processes: int, run: Path) -> RunError:
    """The error of the process that is to blame, with its log; rank 0 wrote to the terminal."""
    killed = failure.exitcode < 0 and not _own_error(failure)
    if killed:
        what = f"was killed by {signal.Signals(-failure.exitcode).name}"
    else:
        what = f"failed: {_message(failure)}"
    logs = sorted(run.glob(f"logs/*/attempt_*/{rank}/stderr.log"), key=lambda f: f.stat().st_mtime)
    log = f"; its log is {logs[-1]}" if logs and rank else ""
    error = RunError(f"{run}: process {rank} of {processes} {what}{log}")
    # An error that was still being handled when the agent ended its process counts as 1.
    codes = {2: 2, -signal.SIGTERM: TERMINATED}
    error.exit_code = codes.get(failure.exitcode, 1) if killed or failure.exitcode > 0 else 1
    return error


def _blame(failed: tuple[int, ProcessFailure]) -> tuple[bool, bool, int]:
    """Sort key: a killed process first, then one with an error; last those that others ended."""
    rank, failure = failed
    own, code = _own_error(failure), failure.exitcode
    # The agent itself ends the others by SIGTERM, and they lose the one that failed.
    stopped = code in EXIT_CODES or (code == -signal.SIGTERM and not own)
    return stopped or "has lost another" in own, bool(own) or code >= 0, rank


def _own_error(failure: ProcessFailure) -> str:
    """The error that a process left; also where the agent, after another's, ended it meanwhile."""
    return _message(failure) if Path(failure.error_file).is_file() else ""


def _message(failure: ProcessFailure) -> str:
    message = failure.message
    return str(message.get("message", message) if isinstance(message, dict) else message).strip()


def report_failure(error: Exception) -> None:
    """Write the error to the file from which the agent that started this process reads it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


def die_with_parent() -> None:
    """End when the agent does, even by kill -9: no process may continue to write to the run."""
    parent = os.getppid()
    if sys.platform == "linux":
        # By the kernel, whatever this process is doing then.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(0.2)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    # The agent may have ended before the request above.
    if os.getppid() != parent:
        os._exit(1)
