from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

KILLS = 3

SCRIPT = """
# The uninterrupted run in this process, then the others in forked children: everything is loaded
# by then, so that each kill hits the training itself.
import json, os, random, signal, sys, time
from addkit.cli.main import main

recipe, overrides, kills = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])


def train(path, *words):
    sets = [word for override in overrides for word in ("--set", override)]
    sys.argv = ["addkit", "train", recipe, "--json", "--run-dir", path, *words, *sets]
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


def start(path, *words):
    pid = os.fork()
    if not pid:
        log = os.open(f"{path}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(train(path, *words))
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


codes = [train("straight")]
begin = time.perf_counter()
codes.append(ended(start("again")))
whole = time.perf_counter() - begin
for _ in range(kills):
    pid = start("killed", "--resume")
    time.sleep(random.uniform(0.02, 0.5) * whole)
    os.kill(pid, signal.SIGKILL)
    codes.append(ended(pid))
codes.append(ended(start("killed", "--resume")))
print()
print(json.dumps(codes))
"""


def test_a_run_survives_kill_9(
    recipes: Path,
    tmp_path: Path,
    lab: Any,
    same: Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool],
) -> None:
    overrides = [
        *("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=4", "training.evaluate_every=1", "checkpoints.every=1"),
    ]
    words = [str(recipes / "digits.toml"), json.dumps(overrides), str(KILLS)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,  # torch is imported again for each kill
        check=True,
    )
    first, second, *killed, last = json.loads(done.stdout.splitlines()[-1])
    log = (tmp_path / "killed.log").read_text()
    # A session that came to its end before its kill ends with 0.
    assert set(killed) <= {-9, 0}, log
    assert -9 in killed
    assert (first, second, last) == (0, 0, 0), log
    for run in ("", "controls/linear"):
        straight = tmp_path / "straight" / run
        assert same(lab.stored(straight), lab.stored(tmp_path / "killed" / run))
        manifests = [tmp_path / name / run / "manifest.json" for name in ("straight", "killed")]
        scores = [json.loads(path.read_text())["scores"] for path in manifests]
        assert scores[0] == scores[1]
    assert not list((tmp_path / "killed").rglob("*.tmp"))
