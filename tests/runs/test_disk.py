from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from addkit.errors import RunError
from addkit.runs import Run, atomic
from addkit.runs import checkpoint as checkpoints
from addkit.runs.checkpoint import CheckpointWriter, Progress
from addkit.runs.checkpoint_files import Keep, checkpoint_of, newest_whole
from addkit.runs.disk import disk_errors
from addkit.runs.folder import Manifest
from addkit.runs.lock import locked

Save = Callable[..., Path]

FULL = r"the disk is full \(40 kB needed, \d.*B free\)"
QUOTA = r"the quota of the disk is used up \(40 kB needed, \d.*B free\)"
SPACE = "free some space or lower checkpoints.keep_last"
CLOSED = "make the folder writable"
TENSORS = {"raw": {"w": torch.zeros(10_000)}}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("where", ["save_file", "seal", "put_in_place", "point"])
@pytest.mark.parametrize(
    ("number", "what", "remedy"),
    [
        (errno.ENOSPC, FULL, SPACE),
        (errno.EDQUOT, QUOTA, SPACE),
        (errno.EROFS, "Read-only file system", CLOSED),
        (errno.EACCES, "Permission denied", CLOSED),
        (errno.EPERM, "Operation not permitted", CLOSED),
        (errno.EIO, "Input/output error", "check the disk"),
    ],
)
def test_a_save_that_fails_leaves_all_as_it_was(
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
    asynchronous: bool,
    where: str,
    number: int,
    what: str,
    remedy: str,
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    path = save(1)
    writer = CheckpointWriter(path.parent, Keep(last=1), asynchronous=asynchronous)
    monkeypatch.setattr(checkpoints, where, fail)
    with pytest.raises(RunError, match=rf"step-00000002: cannot be written: {what}") as raised:
        writer.save(Progress(2), TENSORS, wait=True)
    assert f"; the last whole checkpoint is {path}; {remedy}, then continue with --resume" in str(
        raised.value
    )
    monkeypatch.undo()
    assert (checkpoint_of(path.parent), writer.saved) == (path, path)
    assert not list(path.parent.glob(".*"))
    writer.save(Progress(2), TENSORS, wait=True)
    assert _names(path.parent) == ["latest", "step-00000002"]


def test_the_first_save_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "seal", fail)
    with (
        pytest.raises(RunError, match=r"there is no checkpoint yet; .*, then begin again"),
        CheckpointWriter(tmp_path / "new", Keep()) as writer,
    ):
        writer.save(Progress(0), TENSORS)


@pytest.mark.parametrize(
    "text",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "CheckpointException ranks:dict_keys([1])\nOSError: [Errno 28] No space left on device",
    ],
)
@pytest.mark.parametrize("kind", [RuntimeError, BaseException])
def test_an_error_that_quotes_the_systems(
    tmp_path: Path, text: str, kind: type[BaseException]
) -> None:
    with (
        pytest.raises(RunError, match=r"x: cannot be written: the disk is full \(0 B needed, "),
        disk_errors(tmp_path / "x", 0, lambda: None),
    ):
        raise kind(text)


@pytest.mark.parametrize("error", [ValueError("28"), KeyboardInterrupt(), RunError("[Errno 28]")])
def test_other_errors_pass(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, disk_errors(tmp_path, 0, lambda: None):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_700, "1 MB"),
        (1_776_000_000, "1.78 GB"),
        (4_000_000_000_000_000, "4e+03 TB"),
    ],
)
def test_sizes(tmp_path: Path, count: int, size: str) -> None:
    with (
        pytest.raises(RunError, match=re.escape(f"({size} needed, ")),
        disk_errors(tmp_path / "gone" / "x", count, lambda: None),
    ):
        raise OSError(errno.ENOSPC, "")


@pytest.fixture
def run(tmp_path: Path, save: Save) -> Run:
    """A run with a checkpoint."""
    save(1)
    (tmp_path / "run" / "recipe.toml").write_text('name = "x"\n')
    return Run(tmp_path / "run")


def test_a_note_on_a_full_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.note(a=1)
    monkeypatch.setattr(atomic, "fsync_path", _full)
    with pytest.raises(RunError, match=r"manifest\.json: .* is full .* checkpoint is .*step-0+1;"):
        run.note(a=2)
    assert run.manifest().model_extra == {"a": 1}
    assert not list(run.path.glob(".*"))


def _full(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_rewrite_on_a_full_disk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.log({"step": 1})
    monkeypatch.setattr(atomic, "fsync_path", _full)
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be written: the disk is full"):
        run.forget_after(0)
    assert run.metrics() == [{"step": 1}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no file that is always full")
def test_a_line_on_a_full_disk(run: Run) -> None:
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"metrics\.jsonl: .* is full \(12 B needed, .* free\)"):
        run.log({"step": 2})


def test_a_checkpoint_and_a_line_fill_a_real_disk(small_disk: Path, tmp_path: Path) -> None:
    """A megabyte of room: the third save of 400 kB does not fit."""
    folder = small_disk / "checkpoints"
    writer = CheckpointWriter(folder, Keep(last=9))
    for step in (1, 2):
        path = writer.save(Progress(step), {"raw": {"w": torch.full((100_000,), float(step))}})
    writer.save(Progress(3), {"raw": {"w": torch.zeros(100_000)}})
    needed = r"step-00000003: cannot be written: the disk is full \(400 kB needed, .* kB free\)"
    with pytest.raises(RunError, match=f"{needed}; the last whole checkpoint is {path}; "):
        writer.close()
    assert newest_whole(folder) == (path, [])
    assert _names(folder) == ["latest", "step-00000001", "step-00000002"]
    run = Run(small_disk)
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be written: the disk is full"):
        run.log({"step": 3, "long": "x" * 1_000_000})
    with pytest.raises(RunError, match=r"manifest\.json: cannot be written: the disk is full"):
        run.note(long="x" * 1_000_000)
    (small_disk / "metrics.jsonl").unlink()
    assert run.manifest() == Manifest()
    shutil.rmtree(folder / "step-00000001")
    writer.save(Progress(3), {"raw": {"w": torch.zeros(100_000)}}, wait=True)


def test_a_real_disk_that_turns_read_only(small_disk: Path) -> None:
    writer = CheckpointWriter(small_disk / "checkpoints", Keep())
    path = writer.save(Progress(1), TENSORS, wait=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    raised = rf": Read-only file system \(.*\); the last whole checkpoint is {path}; .* writable"
    with pytest.raises(RunError, match=raised):
        writer.save(Progress(2), TENSORS, wait=True)
    for write in (Run(small_disk).log, lambda entry: Run(small_disk).note(**entry)):
        with pytest.raises(RunError, match=raised):
            write({"step": 2})
    with pytest.raises(RunError, match=raised):
        locked(small_disk).__enter__()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_may_not_be_written(run: Run) -> None:
    run.checkpoints.chmod(0o500)
    try:
        with pytest.raises(RunError, match=r"step-0+2: .*Permission denied .*folder writable"):
            CheckpointWriter(run.checkpoints, Keep()).save(Progress(2), TENSORS)
    finally:
        run.checkpoints.chmod(0o700)


def test_an_error_of_a_file_that_was_read_passes(tmp_path: Path) -> None:
    read = OSError(errno.EIO, "Input/output error", str(tmp_path / "images" / "a.png"))
    with pytest.raises(OSError) as raised, disk_errors(tmp_path / "run" / "x"):
        raise read
    assert raised.value is read
