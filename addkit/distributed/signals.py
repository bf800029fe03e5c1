"""Signals that ask a training to stop: it saves, and leaves."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes, as shells have them for SIGINT and SIGTERM."""
HANDLED = ("SIGTERM", "SIGUSR1", "SIGINT")
"""SLURM's --signal=USR1@SECONDS sends SIGUSR1 before a job's time is up."""
SHOW_CURSOR = "\x1b[?25h"


class StopSignals:
    """Context that records a signal instead of dying from it. A second Ctrl-C leaves at once.

    Python delivers signals to a process's main thread alone; elsewhere none is ever recorded.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        """0: no signal came."""
        self.name = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            # Not every system has SIGUSR1.
            numbers = [getattr(signal, name) for name in HANDLED if hasattr(signal, name)]
            self._before = {number: signal.signal(number, self._record) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # An interpreter with a training inside it gets its own handlers back.
            signal.signal(number, handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        interrupted = number == signal.SIGINT
        if interrupted and self.exit_code:
            # Not an exception: that would wait for files, workers and other processes.
            sys.stderr.write(SHOW_CURSOR if sys.stderr.isatty() else "")
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        # Only noted: the trainer reads it after a step, where all processes can save together.
        self.exit_code = INTERRUPTED if interrupted else TERMINATED
        self.name = "Ctrl-C" if interrupted else signal.Signals(number).name

    @property
    def why(self) -> str:
        """For the message; another process of the training may have got the signal."""
        return f"stopped by {self.name}" if self.name else "stopped with another process"
