"""Nothing that a user has put into a folder is deleted, whatever fails; lost pointers are found."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import DataError, RunError, Stopped, UsageError
from addkit.runs import Run, checkpoint
from addkit.runs.atomic import delete_made, write_json
from addkit.runs.folder import read_json, sealed
from addkit.training import trainer

Cli = Callable[..., Any]

SMALL = [
    word
    for change in (
        *("encoder.widths=[4]", "encoder.blocks=1", "denoiser.width=8", "denoiser.depth=1"),
        *("training.epochs=1", "training.batch_size=1024", "control.heads=[]"),
    )
    for word in ("--set", change)
]
FOREIGN = [
    "thesis.tmp",
    "checkpoints/my-old-model.pt",
    "checkpoints/step-00000007/raw.safetensors",
    ".thesis.tmp",
    ".my-notes.12.tmp",
    "facts.json",
    "lock",
    "manifest.json",
    "metrics.jsonl",
    "photos/cat.png",
]


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("resume", [(), ("--resume",), ("--fresh",)], ids=str)
@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_other_files_is_refused(
    addkit: Cli, tmp_path: Path, name: str, resume: tuple[str, ...]
) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    before = _contents(tmp_path)
    said = addkit("train", "digits", "--run-dir", "out", *SMALL, *resume)
    assert said.code == 2
    assert said.err.startswith("error: out: ")
    assert name.split("/")[0] in said.err
    assert _contents(tmp_path) == before


def test_python_and_workers_refuse_it_too(tmp_path: Path, recipes: Path) -> None:
    from addkit import train
    from addkit.recipe import read_recipe
    from addkit.runs.folder import begin_in

    (tmp_path / "thesis.tmp").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.tmp"):
        train(read_recipe(recipes / "digits.toml"), run_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tmp"]
    with pytest.raises(UsageError, match="is a file"):
        begin_in(tmp_path / "thesis.tmp")


@pytest.fixture
def first_save_fails(addkit: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Trains into a folder whose first checkpoint cannot be written; gives what stderr got."""

    def train(folder: Path, meanwhile: Callable[[], object] = lambda: None) -> str:
        def save(*_: object) -> None:
            meanwhile()
            _full()

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save_file", save)
            said = addkit("train", "digits", "--run-dir", folder, *SMALL)
        assert said.code == 1
        assert (
            f"{folder}/checkpoints/step-00000000: cannot be written: the disk is full" in said.err
        )
        return str(said.err)

    return train


@pytest.mark.parametrize("before", ["nothing", "empty", "link", "cut short"])
def test_a_first_save_that_fails_leaves_what_was_there(
    tmp_path: Path, first_save_fails: Callable[..., str], before: str
) -> None:
    out = Path("out")
    if before in ("empty", "cut short"):
        out.mkdir()
    if before == "link":
        (tmp_path / "target").mkdir()
        out.symlink_to(tmp_path / "target")
    if before == "cut short":
        # As a kill in the first second leaves it.
        (out / ".recipe.toml.7.tmp").write_text("nam")
        (out / "checkpoints").mkdir()
    first_save_fails(out)
    assert out.exists() == (before != "nothing")
    assert out.is_symlink() == (before == "link")
    if before != "nothing":
        assert [path.name for path in out.iterdir()] == (
            ["checkpoints"] if before == "cut short" else []
        )


@pytest.mark.parametrize("name", ["thesis.tmp", "checkpoints/my-old-model.pt", "logs/rank1.log"])
def test_a_file_that_appears_meanwhile_stays_with_the_run(
    first_save_fails: Callable[..., str], name: str
) -> None:
    file = Path("out") / name

    def write() -> None:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")

    first_save_fails(Path("out"), write)
    assert file.read_text() == "mine"
    assert Run.open(Path("out")).recipe().name == "digits"


def test_a_cleaning_that_fails_does_not_replace_the_error(
    first_save_fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(path: Path, **_: bool) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))

    monkeypatch.setattr(Path, "rmdir", busy)
    monkeypatch.setattr(Path, "unlink", busy)
    error = first_save_fails(Path("out"))
    assert "busy" not in error
    assert "fault" not in error


def test_a_training_that_a_signal_stops_at_once_can_be_resumed(
    addkit: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped("stopped by SIGTERM", 143)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.CheckpointWriter, "save", stop)
        said = addkit("train", "digits", "--run-dir", "out", *SMALL)
    assert said.code == 143
    assert Run.open(Path("out")).recipe().name == "digits"


def test_only_what_was_made_is_deleted(tmp_path: Path) -> None:
    made = {tmp_path / "out", tmp_path / "out" / "recipe.toml", tmp_path / "out" / "missing"}
    for name in ("recipe.toml", "notes"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).touch()
    delete_made(tmp_path / "out", made)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["notes", "recipe.toml"]
    (tmp_path / "out" / "notes").unlink()
    delete_made(tmp_path / "out", made)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def unfinished(digits_run: Path, tmp_path: Path) -> Path:
    """A run whose last epoch's scores are missing, without `latest` in it and its controls."""
    run = Path(shutil.copytree(digits_run, tmp_path / "runs" / "one"))
    manifest = Run(run).path / "manifest.json"
    write_json(manifest, sealed({k: v for k, v in read_json(manifest).items() if k != "scores"}))
    Run(run).note(status="running")
    for pointer in run.rglob("latest"):
        pointer.unlink()
    return run


def _whole(run: Path) -> dict[str, bytes]:
    """What must stay: all but the manifest, which every start writes to, and the pointer."""
    return {
        k: v for k, v in _contents(run).items() if Path(k).name not in ("manifest.json", "latest")
    }


def test_a_run_without_latest_resumes(addkit: Cli, unfinished: Path) -> None:
    said = addkit("train", "runs/one", "--resume", "--json")
    assert said.code == 0, said.err
    assert "checkpoints/latest: missing; step-00000038 is the newest" in said.err
    assert (unfinished / "checkpoints" / "latest").read_text() == "step-00000038\n"


def _no_data(recipe: object) -> None:
    raise DataError("photos: no such folder")


def _break_checkpoints(run: Path) -> None:
    for file in run.rglob("raw.safetensors"):
        file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize("failure", ["data", "broken", "removed", "full", "recipe"])
def test_a_resume_that_fails_deletes_nothing(
    addkit: Cli, unfinished: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    words: tuple[str, ...] = ()
    if failure == "data":
        monkeypatch.setattr(trainer, "build_data", _no_data)
    if failure == "broken":
        _break_checkpoints(unfinished)
    if failure == "removed":
        for path in unfinished.glob("checkpoints/*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    if failure == "full":
        monkeypatch.setattr(trainer.Trainer, "_train_epoch", _full)
        monkeypatch.setattr(Run, "forget_after", _full)
    if failure == "recipe":
        words = ("--set", "seed=7")
    (unfinished / "checkpoints" / ".mine.tmp").write_text("mine")
    before = _whole(unfinished)
    said = addkit("train", "runs/one", "--resume", *words)
    assert said.code == 1, said.err
    assert "fault of addkit" not in said.err
    assert _whole(unfinished) == before


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_finished_run_without_latest_answers(
    addkit: Cli,
    unfinished: Path,
    digit_images: list[Path],
    command: str,
) -> None:
    words = digit_images if command == "sample" else ["--no-audit", "--steps", "1"]
    said = addkit(command, "--run", "runs/one", *words)
    assert said.code == 0, said.err
    assert "latest: missing; step-00000038 is the newest" in said.err
    assert (unfinished / "checkpoints" / "latest").read_text() == "step-00000038\n"
    assert "missing" not in addkit("sample", "--run", "runs/one", digit_images[0]).err


def test_fresh_on_a_folder_that_cannot_be_renamed(
    addkit: Cli, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(path: Path, to: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))

    monkeypatch.setattr(Path, "rename", busy)
    before = _contents(unfinished)
    said = addkit("train", "digits", "--run-dir", "runs/one", "--fresh", *SMALL)
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith("error: runs/one: cannot be written: ")
    assert _contents(unfinished) == before


def test_a_run_error_of_a_new_run_s_own_files(addkit: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RunError("no")

    monkeypatch.setattr(Run, "note", fail)
    assert addkit("train", "digits", *SMALL).code == 1
    assert not list(Path("runs").rglob("*"))
