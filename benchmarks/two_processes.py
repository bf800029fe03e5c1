"""`two-processes`: a step of two CPU processes against perfect scaling, same global batch.

Runs of the digits recipe with a wider encoder, one thread in each process, alternate; each gives
the median of its steps. Perfect scaling is half of one process's step, so two cores must be free.
Two trainings of half the batch that never talk, side by side, show what of the rest the machine
itself takes, such as memory and caches that its cores share; what is left is messages and waiting.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from measure import ROOT, Options, Row, Target

WIDER = "encoder.widths=[64, 128]"
EACH = {64: None, 128: Target(1.15)}
"""Images at a time on a process, and the bar: costs of a step that do not depend on its images,
such as the optimizer, are not divided."""
SHORT = ("training.epochs=8", "training.evaluate_every=8", "control.heads=[]", "data.validation=0")
SKIPPED = 10
"""Steps that warm up."""
PAIRS = 3


def rows(options: Options) -> Iterator[Row]:
    """Time of two processes over half the time of one, and over two that do not communicate."""
    for each, target in EACH.items():
        with tempfile.TemporaryDirectory() as folder:
            yield from _pair(Path(folder), each, target, 1 if options.quick else PAIRS)


def _pair(root: Path, each: int, target: Target | None, pairs: int) -> Iterator[Row]:
    perfect, silent, shares = [], [], []
    for pair in range(pairs):
        (one,) = _steps([root / f"one-{pair}"], 1, each, 2 * each)
        (two,) = _steps([root / f"two-{pair}"], 2, each, 2 * each)
        apart = _steps([root / f"left-{pair}", root / f"right-{pair}"], 1, each, each)
        perfect.append(two.seconds / (one.seconds / 2))
        silent.append(two.seconds / mean(run.seconds for run in apart))
        shares.append(two.talking)
    yield Row(
        name="two-processes",
        compares=f"step of 2 processes / half a step of 1, {each} images each",
        values=perfect,
        target=target,
        note=f"{100 * median(shares):.1f} % talking and waiting behind the backward pass",
    )
    yield Row(
        name="two-processes",
        compares=f"the same / step of 2 trainings side by side, {each} images each",
        values=silent,
        target=target,
        note=f"messages, and waiting for each other: {100 * (1 - 1 / median(silent)):.1f} %",
    )


class _Steps(NamedTuple):
    seconds: float
    """Median of a step."""
    talking: float
    """Share of communication."""


def _steps(runs: list[Path], processes: int, each: int, batch: int) -> list[_Steps]:
    """Measure steps of trainings that run at the same time."""
    started = [_start(run, processes, each, batch) for run in runs]
    for process in started:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return [_told(run) for run in runs]


def _start(run: Path, processes: int, each: int, batch: int) -> subprocess.Popen[bytes]:
    sizes = (f"training.batch_size={batch}", f"distributed.per_process_batch={each}")
    words = [word for change in (WIDER, *sizes, *SHORT) for word in ("--set", change)]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "addkit", "train", str(ROOT / "recipes" / "digits.toml")),
            *("--run-dir", str(run), "--processes", str(processes), "--json", *words),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )


def _told(run: Path) -> _Steps:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if "parts" in line][SKIPPED:]
    share = sum(s["parts"]["communication"] for s in steps) / sum(s["seconds"] for s in steps)
    return _Steps(median(step["seconds"] for step in steps), share)
