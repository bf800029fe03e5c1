"""What is written whole, on a disk that fails at each of its writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from addkit.errors import RunError
from addkit.runs import Run
from addkit.runs.atomic import clean_temporaries, whole_folder, write_files, write_text
from addkit.runs.checkpoint import CheckpointWriter, Progress
from addkit.runs.checkpoint_files import FILES as CHECKPOINT_FILES
from addkit.runs.checkpoint_files import Keep, checkpoint_of, fault_of, seal
from addkit.runs.folder import FILES
from addkit.runs.lock import locked

from ..faulty_disk import NUMBERS, REASONS, FaultyDisk


def _save(folder: Path) -> None:
    writer = CheckpointWriter(folder / "checkpoints", Keep(last=1), asynchronous=False)
    writer.save(Progress(2), {"raw": {"w": torch.ones(9)}})
    writer.mark_best()


def _folder(folder: Path) -> None:
    with whole_folder(folder / "features") as temporary:
        (temporary / "a").write_text("new")
        seal(temporary)


def _lock(folder: Path) -> None:
    with locked(folder):
        pass


def _files(folder: Path) -> None:
    write_files(folder / "new", {folder / "new" / "a": "1", folder / "new" / "b" / "c": "2"})


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: write_text(folder / "a.txt", "new"),
    "files": _files,
    "folder": _folder,
    "note": lambda folder: Run(folder).note(status="new"),
    "line": lambda folder: Run(folder).log({"step": 2}),
    "rewrite": lambda folder: Run(folder).forget_after(0),
    "lock": _lock,
    "checkpoint": _save,
}
MINE = ("thesis.tmp", "checkpoints/my-old-model.pt", "features.txt", ".notes.1.tmp")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a checkpoint, and files of the user's in its folders."""
    folder = tmp_path / "run"
    with CheckpointWriter(folder / "checkpoints", Keep()) as writer:
        writer.save(Progress(1), {"raw": {"w": torch.zeros(9)}})
    for name in ("a.txt", *MINE):
        (folder / name).write_text("mine")
    Run(folder).note(status="running")
    Run(folder).log({"step": 1})
    _folder(folder)
    return folder


def _check(run: Path) -> None:
    """Everything is as it was, or whole in its new form, after a resumed training's cleaning."""
    clean_temporaries(run, f"{FILES}|features")
    clean_temporaries(run / "checkpoints", CHECKPOINT_FILES)
    assert {name: (run / name).read_text() for name in MINE} == dict.fromkeys(MINE, "mine")
    assert (run / "a.txt").read_text() in ("mine", "new")
    assert Run(run).manifest().status in ("running", "new")
    assert [line["step"] for line in Run(run).metrics()] in ([], [1], [1, 2])
    assert fault_of(run / "features") is None
    newest = checkpoint_of(run / "checkpoints")
    assert newest is not None
    assert fault_of(newest) is None


@pytest.mark.filterwarnings("ignore:.* an old checkpoint cannot be deleted")
@pytest.mark.parametrize("number", NUMBERS, ids=os.strerror)
@pytest.mark.parametrize("writer", WRITERS)
def test_each_write_may_fail(
    run: Path, monkeypatch: pytest.MonkeyPatch, writer: str, number: int
) -> None:
    for first in range(1, 99):
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, run, first, number)
            try:
                WRITERS[writer](run)
            except RunError as error:
                assert disk.broken, error
                assert str(error).startswith(f"{run}/")
                assert f": cannot be written: {REASONS[number]} " in str(error)
            else:
                # Only the deletion of an old checkpoint may fail without an error.
                assert not disk.broken or disk.writes[-1].endswith("/step-00000001")
        left = {path for path in run.rglob(".*.tmp") if path.name not in MINE}
        assert number != errno.ENOSPC or not left
        _check(run)
        if not disk.broken:
            break
    assert first > 1
    assert (run / "new").exists() == (writer == "files")
