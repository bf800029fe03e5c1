"""Processes that share a server's socket, and the signals that end them. No torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Semaphore
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from addkit.distributed.signals import handled_numbers
from addkit.errors import AddkitWarning, RunError
from addkit.serving.metrics import FOLDER

Work = Callable[[socket.socket, Semaphore], None]
"""What each process does; it releases the semaphore once it accepts connections."""
POLL = 0.1
"""Seconds between two looks at signals and at processes that have started."""


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within, signals that stop a command call `handler`, in the main thread."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) for number in handled_numbers()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def supervise(work: Work, sock: socket.socket, count: int, started: Callable[[], None]) -> int:
    """Run processes until a signal comes, then stop them; returns the signal.

    A process that dies is replaced, with a warning. `/metrics` of any of them has the sums of all.

    Args:
        work: of each process; it must be importable, and end at SIGTERM.
        sock: closed here before the processes stop, so that the last of them ends it.
        count: of processes.
        started: called once all of them accept connections.

    Raises:
        RunError: one of them ends before all have started.
    """
    context = multiprocessing.get_context("spawn")
    ready, missing, stopped = context.Semaphore(0), count, 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = stopped or number

    def start() -> SpawnProcess:
        process = context.Process(target=work, args=(sock, ready))
        process.start()
        return process

    with TemporaryDirectory(prefix="addkit-") as folder, handled(stop):
        # Before the processes import prometheus_client, which reads it then.
        os.environ[FOLDER] = folder
        processes: list[SpawnProcess] = []
        try:
            processes.extend(start() for _ in range(count))
            while not stopped:
                while missing and ready.acquire(block=False):
                    missing -= 1
                    if not missing:
                        started()
                wait([process.sentinel for process in processes], timeout=POLL)
                for index, process in enumerate(processes):
                    if process.exitcode is None or stopped:
                        continue
                    code = f"exit code {process.exitcode}"
                    if missing:
                        raise RunError(
                            f"a process of the server ended at its start ({code}); its reason is "
                            "above"
                        )
                    text = f"a process of the server died ({code}); another one is started"
                    warnings.warn(text, AddkitWarning, stacklevel=2)
                    assert process.pid is not None
                    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                    processes[index] = start()
        finally:
            sock.close()
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
            del os.environ[FOLDER]
    return stopped
