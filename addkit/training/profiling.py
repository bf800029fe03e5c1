"""A profile of a few optimizer steps."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from addkit.runs.atomic import write_text

ROWS = 40
"""Of the table of operators."""


class ProfileWindow:
    """Around a training; what some of its steps did goes into the folder `profile` of the run.

    `trace-rank0.json.gz` is for Perfetto or chrome://tracing, `operators.txt` for reading. A
    training that ends within the window leaves what it has, one that ends before leaves nothing.

    Args:
        run: the run's folder.
        first_step: the first one looked at, counted from 1 when the window is entered: those
            before it allocate memory and choose kernels. The second at the earliest, since the
            profiler's own start takes one.
        steps: how many.
        rank: of this process, in the files' names where it is not 0.
    """

    def __init__(self, run: Path, first_step: int = 10, steps: int = 5, rank: int = 0) -> None:
        self.paths: tuple[Path, ...] = ()
        """The files, once they are written."""
        self._folder = run / "profile"
        self._rank = rank
        self._on_gpu = torch.cuda.is_available()
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])],
            schedule=schedule(wait=max(first_step - 2, 0), warmup=1, active=steps, repeat=1),
            on_trace_ready=self._write,
            acc_events=True,
        )

    def __enter__(self) -> Self:
        self._profile.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._profile.stop()

    def step(self) -> None:
        """After each optimizer step."""
        self._profile.step()

    def _write(self, done: profile) -> None:
        self._folder.mkdir(exist_ok=True)
        trace = self._folder / f"trace-rank{self._rank}.json.gz"
        done.export_chrome_trace(str(trace))
        more = f"-rank{self._rank}" if self._rank else ""
        table = self._folder / f"operators{more}.txt"
        by = "self_device_time_total" if self._on_gpu else "self_cpu_time_total"
        write_text(table, done.key_averages().table(sort_by=by, row_limit=ROWS) + "\n")
        self.paths = (trace, table)
