from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from addkit.runs.checkpoint import CheckpointWriter, Progress
from addkit.runs.checkpoint_files import Keep

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes the checkpoint of a step into tmp_path / run / checkpoints; gives its path."""
    folder = tmp_path / "run" / "checkpoints"

    def write(step: int, *, is_best: bool = False, keep: Keep | None = None) -> Path:
        tensors = {"raw": {"w": torch.full((100,), float(step))}}
        with CheckpointWriter(folder, keep or Keep(last=9)) as writer:
            path = writer.save(Progress(step), tensors)
            if is_best:
                writer.mark_best()
        return path

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True).returncode
    except FileNotFoundError:
        done = 1
    if done:
        pytest.skip("may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
