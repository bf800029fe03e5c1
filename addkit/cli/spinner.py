"""A line that moves while a command has nothing to print yet, such as while torch is imported."""

from __future__ import annotations

import os
from threading import Event, RLock, Thread
from time import monotonic
from typing import TextIO

FRAMES = "|/-\\"
QUIET_FOR = 0.3
"""Seconds without output after which the line appears."""
EVERY = 0.2
"""Seconds between frames."""
CLEAR = "\r\x1b[2K"
"""Return to the start of the terminal's line and erase it."""


class Spinner:
    """Draws `| TEXT, 3 s` on a terminal once nothing was printed for a while, and erases it before
    anything else is printed.

    A thread draws, so that a slow import or computation need not call anything. What else goes to
    the terminal is written by `print`.

    Args:
        stream: the terminal.
        text: what takes its time.
    """

    def __init__(self, stream: TextIO, text: str) -> None:
        self._stream, self._text = stream, text
        self._began = self._printed = monotonic()
        self._drawn, self._at_start, self._frame = False, True, 0
        # Reentrant: a signal's handler may print while the main thread prints.
        self._lock, self._over = RLock(), Event()
        self._thread = Thread(target=self._run, name="spinner", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        # A process that is forked from this one has no such thread, and must not wait for its lock.
        os.register_at_fork(after_in_child=self._leave)
        self._thread.start()

    def stop(self) -> None:
        """Erase the line; it does not come back."""
        self._over.set()
        with self._lock:
            self._erase()

    def print(self, stream: TextIO, text: str) -> None:
        """Write to a stream that may be the same terminal; nothing else writes meanwhile."""
        with self._lock:
            self._erase()
            stream.write(text)
            if stream.isatty():
                self._printed = monotonic()
                # Behind an unfinished line, such as a progress bar's, nothing is drawn.
                self._at_start = text.endswith("\n") if text else self._at_start

    def draw(self, now: float) -> None:
        """Draw the next frame if the terminal has been quiet for long enough."""
        with self._lock:
            waits = now - self._printed < QUIET_FOR or not self._at_start
            if waits or self._over.is_set():
                return
            frame = FRAMES[self._frame % len(FRAMES)]
            self._frame, self._drawn = self._frame + 1, True
            self._show(f"{CLEAR}{frame} {self._text}, {now - self._began:.0f} s")

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self.draw(monotonic())

    def _erase(self) -> None:
        if self._drawn:
            self._drawn = False
            self._show(CLEAR)

    def _show(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The terminal has gone; a line that moves is no reason to fail.
            self._over.set()

    def _leave(self) -> None:
        self._lock, self._drawn = RLock(), False
        self._over.set()
