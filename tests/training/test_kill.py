from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import torch

KILLS = 3
SETS = [
    word
    for override in (
        *("encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=4", "training.evaluate_every=1", "checkpoints.every=1"),
    )
    for word in ("--set", override)
]


def test_a_run_survives_kill_9(
    recipes: Path,
    tmp_path: Path,
    lab: Any,
    same: Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool],
    fork_server: Any,
) -> None:
    """Forked, so that everything is loaded and each kill hits the training itself."""

    def start(path: str, *words: str) -> Any:
        folder = ("--json", "--run-dir", path, *words)
        return fork_server.start(
            "addkit", "train", recipes / "digits.toml", *folder, *SETS, cwd=tmp_path
        )

    straight = start("straight")
    begin = perf_counter()
    told = straight.communicate()
    whole = perf_counter() - begin
    assert straight.returncode == 0, told
    killed = []
    for _ in range(KILLS):
        process = start("killed", "--resume")
        sleep(random.uniform(0.02, 0.5) * whole)
        process.kill()
        told = process.communicate()
        killed.append(process.returncode)
    # A session that came to its end before its kill ends with 0.
    assert set(killed) <= {-9, 0}, told
    assert -9 in killed
    last = start("killed", "--resume")
    told = last.communicate()
    assert last.returncode == 0, told
    for run in ("", "controls/linear"):
        straight = tmp_path / "straight" / run
        assert same(lab.stored(straight), lab.stored(tmp_path / "killed" / run))
        manifests = [tmp_path / name / run / "manifest.json" for name in ("straight", "killed")]
        scores = [json.loads(path.read_text())["scores"] for path in manifests]
        assert scores[0] == scores[1]
    assert not list((tmp_path / "killed").rglob("*.tmp"))
