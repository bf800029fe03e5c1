"""Running the trainings of an ablation, several at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

from addkit.ablation.worker import Task, as_line
from addkit.runs import Run

LOOK_SECONDS = 0.5


class View(Protocol):
    """Shows an ablation to a person."""

    def begin(self, name: str) -> None:
        """A training, or the scoring of one, starts."""
        ...

    def at(self, name: str, step: int, steps: int) -> None:
        """How far a training is."""
        ...

    def end(self, name: str, error: str | None) -> None:
        """It is done, or failed."""
        ...


@dataclass(slots=True)
class _Working:
    """A worker and what it says when it fails."""

    name: str
    process: subprocess.Popen[str]
    run: Run
    said: IO[str]

    def error(self) -> str | None:
        """Close what is open; None if all went well, else the last line that it wrote."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.said.seek(0)
        lines = self.said.read().strip().splitlines()
        self.said.close()
        code = self.process.returncode
        return None if code == 0 else (lines[-1] if lines else f"ended with exit code {code}")


def execute(tasks: Mapping[str, Task], jobs: int, view: View) -> dict[str, str]:
    """Work on all tasks, `jobs` at a time.

    Args:
        tasks: name to show -> what is to be done.
        jobs: processes; each gets its share of the processor's cores.
        view: shows progress.

    Returns:
        name -> error of those that failed; the others have written all they should.
    """
    waiting, errors = list(tasks.items()), dict[str, str]()
    with _workers() as working:
        while waiting or working:
            while waiting and len(working) < jobs:
                name, task = waiting.pop(0)
                working.append(_start(name, task, jobs))
                view.begin(name)
            for worker in list(working):
                _show(worker, view)
                if worker.process.poll() is not None:
                    working.remove(worker)
                    error = worker.error()
                    errors |= {} if error is None else {worker.name: error}
                    view.end(worker.name, error)
            time.sleep(LOOK_SECONDS if working else 0)
    return errors


@contextmanager
def _workers() -> Iterator[list[_Working]]:
    """Workers, none of which is left behind."""
    working: list[_Working] = []
    try:
        yield working
    finally:
        for worker in working:
            worker.process.kill()
            worker.process.wait()
            worker.error()


def _start(name: str, task: Task, jobs: int) -> _Working:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ} if jobs > 1 else None
    said = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by `_Working.error`.
    process = subprocess.Popen(
        [sys.executable, "-m", "addkit.ablation.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=said,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdin is not None
    # Left open: the worker ends when this end is closed, however this process comes to its end.
    process.stdin.write(as_line(task))
    process.stdin.flush()
    return _Working(name, process, Run(Path(task.run)), said)


def _show(worker: _Working, view: View) -> None:
    plan = worker.run.manifest().get("plan")
    lines = worker.run.metrics()
    if plan and lines:
        view.at(worker.name, lines[-1]["step"], plan["steps"])
