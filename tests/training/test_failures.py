"""What breaks on the way: told by name, with an exit code, and nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from addkit.cli.progress import LiveView
from addkit.runs import checkpoint
from addkit.runs.checkpoint_files import checkpoint_of
from addkit.training.trainer import StepReport, Trainer

Cli = Callable[..., Any]

SETS = [
    word
    for change in (
        *("encoder.widths=[4, 8]", "encoder.blocks=1", "denoiser.width=16", "denoiser.depth=1"),
        *("training.epochs=2", "checkpoints.every=1", "control.heads=[]"),
    )
    for word in ("--set", change)
]
LONG = ("--set", "checkpoints.keep_last=100", "--set", "training.epochs=5")
RUN = Path("r")


@pytest.fixture
def train(addkit: Cli, recipes: Path) -> Cli:
    """Digits, into the folder r unless another one is given."""

    def call(*words: Any) -> Any:
        folder = () if "--run-dir" in words else ("--run-dir", RUN)
        return addkit("train", recipes / "digits.toml", *folder, *SETS, *words)

    return call


def _goes_on(train: Cli, *words: Any) -> None:
    said = train("--resume", *words)
    assert said.code == 0, said.err
    assert "resumed after step 19" in said.err


def test_a_full_disk(train: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    save = checkpoint.save_file

    def full(tensors: Any, file: Path) -> None:
        if "38" in str(file):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, file)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        said = train()
    assert said.code == 1
    last = said.err.splitlines()[-1]
    assert last.startswith(f"error: {RUN}/checkpoints/step-00000038: cannot be written: ")
    assert "the disk is full" in last
    assert f"the last whole checkpoint is {RUN}/checkpoints/step-00000019" in last
    assert "free some space or lower checkpoints.keep_last, then continue with --resume" in last
    assert not list(RUN.rglob("*.tmp"))
    _goes_on(train)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("only root may mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_small_disk_that_fills_up(train: Cli, disk: Path) -> None:
    run = disk / "r"
    # Room for three checkpoints of five.
    subprocess.run(["mount", "-o", "remount,size=600k", disk], check=True)
    said = train("--run-dir", run, *LONG)
    assert said.code == 1
    assert "the disk is full" in said.err.splitlines()[-1]
    saved = checkpoint_of(run / "checkpoints")
    assert saved is not None
    subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
    said = train("--run-dir", run, "--resume", *LONG)
    assert said.code == 0
    assert f"resumed after step {int(saved.name[5:])}" in said.err


def test_a_run_folder_that_is_read_only(train: Cli, disk: Path) -> None:
    run = disk / "r"
    assert train("--run-dir", run).code == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    said = train("--run-dir", run, "--resume")
    assert said.code == 1
    last = said.err.splitlines()[-1]
    assert last.startswith(f"error: {run}/lock: cannot be written: Read-only file system")
    assert "make the folder writable, then continue with --resume" in last
    assert (run / "manifest.json").exists()


@pytest.fixture
def begun(train: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was ended at step 25, with a checkpoint of each step before it."""

    def step(self: LiveView, trainer: Trainer, report: StepReport) -> None:
        if report.step == 25:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LiveView, "step", step)
        assert train("--set", "checkpoints.minutes=1e-9").code == 130
    (newest,) = [path for path in RUN.glob("checkpoints/step-*") if path.name[-2:] == "24"]
    return newest / "raw.safetensors"


@pytest.mark.parametrize(
    ("harm", "what"),
    [(lambda data: data[:-9], "truncated"), (lambda data: data[:-9] + b"x" * 9, "altered")],
)
def test_a_checkpoint_that_is_not_what_was_written(
    train: Cli, begun: Path, harm: Callable[[bytes], bytes], what: str
) -> None:
    begun.write_bytes(harm(begun.read_bytes()))
    said = train("--resume", "--set", "checkpoints.minutes=1e-9")
    assert said.code == 0
    assert f"{begun}: {what}: " in said.err
    assert "resumed after step 23" in said.err


@pytest.fixture
def shards(addkit: Cli, recipes: Path) -> list[Any]:
    """Words for a training on shards of noise, two classes."""
    noise = np.random.default_rng(0)
    for name in ("blue", "red"):
        (Path("photos") / name).mkdir(parents=True)
        for number in range(20):
            pixels = noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("photos") / name / f"{number:02}.jpg")
    recipe = recipes / "image-folder-small.toml"
    small = ("--set", "data.image_size=16", "--set", "training.batch_size=8")
    words = ("--set", "data.root=photos", "--shard-size", "0.005")
    said = addkit("data", "shard", recipe, "out", *words)
    assert said.code == 0, said.err
    one = ("--set", "distributed.workers=0", "--set", "data.root=out", "--run-dir", RUN)
    return ["train", recipe, *small, *one, *SETS]


def test_a_shard_that_is_missing(addkit: Cli, shards: list[Any]) -> None:
    Path("out/train-00001.tar").unlink()
    said = addkit(*shards)
    assert said.code == 1
    assert "error:   out/train-00001.tar: missing\n" in said.err


def test_an_image_that_breaks_in_the_middle_of_a_training(
    addkit: Cli, shards: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("out/train-00001.tar")
    whole = path.read_bytes()

    def step(self: LiveView, trainer: Trainer, report: StepReport) -> None:
        path.write_bytes(b"\0" * len(whole))

    with monkeypatch.context() as patch:
        patch.setattr(LiveView, "step", step)
        said = addkit(*shards)
    assert said.code == 1
    assert f"{path}: altered since it was written" in said.err
    assert checkpoint_of(RUN / "checkpoints") is not None
    path.write_bytes(whole)
    assert addkit(*shards, "--resume").code == 0
