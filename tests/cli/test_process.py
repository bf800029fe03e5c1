"""The command as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

MAIN = [sys.executable, "-m", "addkit"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

LONG = 600
"""Seconds. Importing torch alone can take minutes on a machine that is busy."""


def test_an_interrupted_training_ends_with_130_and_can_be_resumed(
    recipes: Path, tmp_path: Path, fork_server: Any
) -> None:
    words = ["train", recipes / "digits.toml", "--run-dir", "run", "--json"]
    process = fork_server.start("addkit", *words, cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    try:
        end = monotonic() + LONG
        while not metrics.exists() and process.poll() is None and monotonic() < end:
            sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert [x for x in err.splitlines() if x in ("run: run", "ADD: 570 steps")] == [
        "run: run",
        "ADD: 570 steps",
    ]
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "running"
    assert "stopped by Ctrl-C; saved after step " in err
    saved = int(err.split("saved after step ")[1].split(";")[0])
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == f"step-{saved:08d}\n"


def test_errors_end_with_their_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MAIN, "train", "nowhere.toml", "--json"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere.toml: no such file")
