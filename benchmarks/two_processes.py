"""`two-processes`: a step of two CPU processes against half a step of one, same global batch.

Runs of the digits recipe with a wider encoder, one thread in each process, alternate; each tells
the median of its steps. Perfect scaling is half of one process's step, so two cores must be free.
What two processes need beyond that is messages and waiting for each other, most of it within the
backward pass, where gradients travel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from measure import ROOT, Options, Row, Target

WIDER = "encoder.widths=[64, 128]"
EACH = {64: None, 128: Target(1.15)}
"""Images at a time on a process, and the bar: what a step costs whatever its images, such as the
optimizer, is not shared out."""
SHORT = ("training.epochs=8", "training.evaluate_every=8", "control.heads=[]", "data.validation=0")
SKIPPED = 10
"""Steps that warm up."""
PAIRS = 3


def rows(options: Options) -> Iterator[Row]:
    """Time of two processes over half the time of one; share of talking."""
    for each, target in EACH.items():
        with tempfile.TemporaryDirectory() as folder:
            yield _row(Path(folder), each, target, 1 if options.quick else PAIRS)


def _row(folder: Path, each: int, target: Target | None, pairs: int) -> Row:
    ratios, shares = [], []
    for pair in range(pairs):
        one, _ = _steps(folder / f"one-{pair}", 1, each)
        two, share = _steps(folder / f"two-{pair}", 2, each)
        ratios.append(two / (one / 2))
        shares.append(share)
    return Row(
        name="two-processes",
        compares=f"step of 2 processes / half a step of 1, {each} images each",
        values=ratios,
        target=target,
        note=f"beyond perfect: {100 * (1 - 1 / median(ratios)):.1f} % of a step; "
        f"{100 * median(shares):.1f} % talking and waiting behind the backward pass",
    )


def _steps(run: Path, processes: int, each: int) -> tuple[float, float]:
    """Median seconds of a step, and the share of communication."""
    sizes = (f"training.batch_size={2 * each}", f"distributed.per_process_batch={each}")
    words = [word for change in (WIDER, *sizes, *SHORT) for word in ("--set", change)]
    subprocess.run(
        [
            *(sys.executable, "-m", "addkit", "train", str(ROOT / "recipes" / "digits.toml")),
            *("--run-dir", str(run), "--processes", str(processes), "--json", *words),
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if "parts" in line][SKIPPED:]
    share = sum(s["parts"]["communication"] for s in steps) / sum(s["seconds"] for s in steps)
    return median(step["seconds"] for step in steps), share
