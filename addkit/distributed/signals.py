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
ASKING = ("SIGTERM", "SIGUSR1", "SIGINT")
"""SIGUSR1 is what SLURM's --signal=USR1@SECONDS sends before a job's time is up."""
SHOW_CURSOR = "\x1b[?25h"


class StopSignals:
    """Remembers what arrived while it is open. A second Ctrl-C leaves at once.

    Only a process's main thread can listen; elsewhere nothing ever arrives.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        """0: nobody asked."""
        self.name = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            known = [getattr(signal, name) for name in ASKING if hasattr(signal, name)]
            self._before = {number: signal.signal(number, self._heard) for number in known}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        interrupted = number == signal.SIGINT
        if interrupted and self.exit_code:
            # Not an exception: that would wait for files, workers and other processes.
            sys.stderr.write(SHOW_CURSOR if sys.stderr.isatty() else "")
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        self.exit_code = INTERRUPTED if interrupted else TERMINATED
        self.name = "Ctrl-C" if interrupted else signal.Signals(number).name

    @property
    def why(self) -> str:
        """For the message: another process of the training may have heard it."""
        return f"stopped by {self.name}" if self.name else "stopped with another process"
