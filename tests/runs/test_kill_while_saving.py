from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.runs.atomic import clean_temporaries
from addkit.runs.checkpoint import load_progress, load_tensors
from addkit.runs.checkpoint_files import FILES, checkpoints_in, fault_of, newest_whole, pointed_at

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from addkit.runs.checkpoint import CheckpointWriter, Keep, Progress

def save(folder, step, last):
    tensors = {"raw": {"w": torch.full((9,), float(step))}}
    with CheckpointWriter(folder, Keep(last=last)) as writer:
        writer.save(Progress(step), tensors)
        writer.mark_best()

def kill_at(moment):
    os.fsync = lambda descriptor: None  # what counts here is the order, and it is slow
    calls = 0
    def counted(call):
        def instead(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return instead
    for name in ("fsync", "rename", "replace", "rmdir", "unlink", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))

root, step = Path(sys.argv[1]), int(sys.argv[2])
for moment in range(1, 99):
    folder = root / str(moment)
    child = os.fork()
    if not child:
        save(folder, 0, 2)
        save(folder, 1, 2)
        kill_at(moment)
        save(folder, step, 1)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(moment)
"""
"""Kills a save at its first call to the file system, another at its second, until one ends."""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("step", [1, 2], ids=["the same step again", "the next step"])
def test_a_save_may_be_killed_at_any_call_to_the_file_system(
    tmp_path: Path, fork_server: Any, step: int
) -> None:
    script, saves = tmp_path / "killed.py", tmp_path / "saves"
    script.write_text(KILLED)
    process = fork_server.start(str(script), saves, step, cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    moments = int(out)
    assert 15 < moments < 98
    steps = set()
    for folder in saves.iterdir():
        clean_temporaries(folder, FILES)
        assert not list(folder.glob(".*"))
        checkpoint, refused = newest_whole(folder)
        assert checkpoint is not None
        assert refused == []
        assert all(fault_of(one) is None for one in checkpoints_in(folder))
        steps.add(load_progress(checkpoint).step)
        saved = torch.full((9,), float(load_progress(checkpoint).step))
        assert torch.equal(load_tensors(checkpoint / "raw.safetensors")["w"], saved)
        assert pointed_at(folder, "best") is not None
    assert steps == {1, step}
