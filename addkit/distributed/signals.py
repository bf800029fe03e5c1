"""Signals that ask a command to stop: it saves what there is to save, and leaves."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from addkit.errors import Stopped

HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
"""Exit codes, as shells have them for SIGHUP, SIGINT and SIGTERM."""
EXIT_CODES = (HUNG_UP, INTERRUPTED, TERMINATED)
"""Of processes that got several signals, the first of these counts."""
HANDLED = ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP")
"""SLURM's --signal=USR1@SECONDS sends SIGUSR1 before a job's time is up."""
PATIENCE = 4.0
"""Seconds until a signal that was deferred, and not obeyed, raises `Interrupted` all the same."""
SHOW_CURSOR = "\x1b[?25h"


class Interrupted(BaseException):
    """Raised in the main thread by a signal; the end of `StopSignals` turns it into `Stopped`.

    No `Exception`, so that no handler of a broken file takes it for one.
    """


def exit_code_of(number: int) -> int:
    """Exit code of a command that a signal has stopped."""
    name = signal.Signals(number).name
    return {"SIGINT": INTERRUPTED, "SIGHUP": HUNG_UP}.get(name, TERMINATED)


class StopSignals:
    """Context in which a signal raises `Interrupted`, or is recorded within `deferred`.

    `Interrupted` leaves the context as `Stopped`. A second Ctrl-C ends the process at once. A
    SIGHUP that is ignored, as under nohup, stays ignored. Python delivers signals to a process's
    main thread alone; elsewhere none is ever recorded.
    """

    def __init__(self, advice: str = "") -> None:
        """`advice`: what `Stopped` adds to the signal's name."""
        self.advice, self.exit_code = advice, 0
        """0: no signal came."""
        self.name = ""
        self._obeyed = False
        self._before: dict[int, Any] = {}
        self._deferrals: list[bool] = []
        """For each `deferred` that is entered: may the deadline raise?"""

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._record) for number in handled_numbers()
            }
            if hasattr(signal, "SIGALRM"):
                self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._set_deadline(0)
        for number, handler in self._before.items():
            # An interpreter with a training inside it gets its own handlers back.
            signal.signal(number, handler)
        if isinstance(error, Interrupted):
            text = "; ".join(filter(None, (self.why, self.advice)))
            raise Stopped(text, self.exit_code) from error

    @contextmanager
    def deferred(self, *, deadline: bool = True) -> Iterator[None]:
        """Within, a signal is only recorded: `exit_code` is to be polled.

        One that came and was not obeyed raises `Interrupted` at the end. With a `deadline` it does
        so `PATIENCE` seconds after it came, unless this contains another `deferred` then, without.
        """
        self._deferrals.append(deadline)
        try:
            yield
        finally:
            self._deferrals.pop()
        if self.exit_code and not self._deferrals:
            self._interrupt()

    def _record(self, number: int, frame: FrameType | None) -> None:
        interrupted = number == signal.SIGINT
        if interrupted and self.exit_code:
            # Not an exception: that would wait for files, workers and other processes.
            sys.stderr.write(SHOW_CURSOR if sys.stderr.isatty() else "")
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        self.exit_code = exit_code_of(number)
        self.name = "Ctrl-C" if interrupted else signal.Signals(number).name
        if not self._deferrals:
            self._interrupt()
        self._set_deadline(PATIENCE)

    def _expire(self, number: int, frame: FrameType | None) -> None:
        if self._deferrals and not self._deferrals[-1]:
            # Again, when what must not be cut short may be over.
            self._set_deadline(PATIENCE / 8)
        else:
            self._interrupt()

    def obey(self) -> None:
        """The signal that came is obeyed now: it interrupts nothing."""
        self._obeyed = True
        self._set_deadline(0)

    def _interrupt(self) -> None:
        if not self._obeyed:
            self.obey()
            raise Interrupted

    def _set_deadline(self, seconds: float) -> None:
        if signal.SIGTERM in self._before and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)

    @property
    def why(self) -> str:
        """For the message; another process of the training may have got the signal."""
        return f"stopped by {self.name}" if self.name else "stopped with another process"


def handled_numbers() -> list[int]:
    """The signals that stop a command here: not every system has all, and nohup ignores one."""
    numbers = [getattr(signal, name) for name in HANDLED if hasattr(signal, name)]
    hangup = getattr(signal, "SIGHUP", None)
    return [n for n in numbers if n != hangup or signal.getsignal(n) != signal.SIG_IGN]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, signals end the process without Python: for a wait in C, which no handler ends."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, signal.SIG_DFL) for number in handled_numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
