"""Run the benchmarks: `python benchmarks/run.py [NAME ...] [--quick] [--threads N] [--json FILE]`.

Prints one table. The exit code is 0 whether targets are met or missed; 1 if a benchmark crashed.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch
from measure import Options, Row, note
from rich.console import Console
from rich.table import Table

BENCHMARKS = {
    "draw": "draw",
    "draw-distribution": "draw_distribution",
    "guided-sampling": "guided_sampling",
    "training-step": "training_step",
    "help": "help_time",
    "kill": "kill",
    "caption-sampling": "caption_sampling",
    "caption-memory": "caption_memory",
    "k1000": "k1000",
    "loading": "loading",
    "sample-folder": "sample_folder",
    "predict-pictures": "predict_pictures",
    "serve": "serve",
    "checkpoint-stall": "checkpoint_stall",
    "kill-pair": "kill_pair",
    "two-processes": "two_processes",
}
"""Name -> module, which has `rows(options)`."""
ON_REQUEST = {"k1000", "draw-distribution"}
"""Take half an hour and five minutes, so they run only if they are named."""


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    options = Options(quick=arguments.quick, kills=arguments.kills)
    rows: list[Row] = []
    failed = False
    for name in arguments.names or [n for n in BENCHMARKS if n not in ON_REQUEST]:
        note(f"{name} ...")
        try:
            rows += import_module(BENCHMARKS[name]).rows(options)
        except Exception:
            traceback.print_exc()
            failed = True
    if rows:
        _print(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(_plain(rows), indent=2) + "\n", encoding="utf-8")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="addkit's benchmarks: ratios, side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="tiny settings, as a check only")
    parser.add_argument("--kills", type=int, default=20, help="kills in the benchmark `kill`")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch in this process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    return arguments


def _print(rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("compares")
    for column in ("median", "[min, max]", "target", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.compares,
            _short(row.median),
            f"\\[{_short(min(row.values))}, {_short(max(row.values))}]",
            str(row.target or ""),
            row.verdict,
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}, {row.compares}: {row.note}", markup=False, soft_wrap=True)


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _plain(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {
            **asdict(row),
            "median": row.median,
            "target": None if row.target is None else str(row.target),
            "verdict": row.verdict or None,
        }
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
