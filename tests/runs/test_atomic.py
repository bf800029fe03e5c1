from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from addkit.runs import atomic
from addkit.runs.atomic import whole_folder, write_json, write_text
from addkit.runs.checkpoint_files import seal

KILLED = """
import os, signal, sys
from pathlib import Path
from addkit.runs import atomic

Path.replace = Path.rename = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
path = Path(sys.argv[1])
if sys.argv[2] == "file":
    atomic.write_text(path, "new")
else:
    with atomic.whole_folder(path) as folder:
        (folder / "a").write_text("new")
"""


def _killed_before_rename(path: Path, what: str) -> None:
    code = subprocess.run([sys.executable, "-c", KILLED, str(path), what], check=False).returncode
    assert code == -9


def test_a_text_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one")
    write_text(path, "zwei ü")
    assert path.read_text("utf-8") == "zwei ü"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_readable_and_ends_with_a_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "ü", "list": [1]})
    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == {"name": "ü", "list": [1]}
    assert "ü" in text
    assert text.endswith("}\n")


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    _killed_before_rename(path, "file")
    assert path.read_text() == "old"
    (left,) = (file for file in tmp_path.iterdir() if file != path)
    assert left.name.startswith(".a.txt.")
    assert left.suffix == ".tmp"


def test_a_writer_that_was_killed_leaves_no_half_folder(tmp_path: Path) -> None:
    path = tmp_path / "step-1"
    _killed_before_rename(path, "folder")
    assert not path.exists()
    assert [file.suffix for file in tmp_path.iterdir()] == [".tmp"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "step-1"
    with whole_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
        seal(folder)
    with whole_folder(path) as folder:
        (folder / "b").write_text("2")
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_with_a_file_of_the_user_s_is_not_replaced_but_renamed(tmp_path: Path) -> None:
    path = tmp_path / "step-1"
    for content in ("first", "second"):
        with whole_folder(path) as folder:
            (folder / "a").write_text(content)
            seal(folder)
        if content == "first":
            (path / "notes").mkdir()
            (path / "notes" / "thesis.tmp").write_text("mine")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["step-1", "step-1.old-1"]
    assert (tmp_path / "step-1.old-1" / "notes" / "thesis.tmp").read_text() == "mine"
    assert (path / "a").read_text() == "second"


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "step-1"
    with whole_folder(path) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(KeyboardInterrupt), whole_folder(path) as folder:
        (folder / "b").write_text("2")
        raise KeyboardInterrupt
    assert [file.name for file in path.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_reach_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(atomic, "fsync_path", lambda path: events.append(f"sync {path.suffix}"))
    monkeypatch.setattr(
        Path, "replace", lambda self, to: events.append("rename") or replace(self, to)
    )
    write_text(tmp_path / "a.txt", "x")
    assert events == ["sync .tmp", "rename", "sync "]


def test_a_folder_reaches_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    rename = Path.rename
    monkeypatch.setattr(atomic, "fsync_path", lambda path: events.append(path.name))
    monkeypatch.setattr(
        Path, "rename", lambda self, to: events.append("rename") or rename(self, to)
    )
    with whole_folder(tmp_path / "step-1") as folder:
        (folder / "a").write_text("1")
    assert events == ["a", ".step-1.tmp", "rename", tmp_path.name]


def test_a_folder_with_a_file_of_the_user_s_is_not_deleted(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "step-1") as folder:
        (folder / "a").write_text("1")
        seal(folder)
    (tmp_path / "step-1" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        atomic.discard(tmp_path / "step-1")
    assert (tmp_path / "step-1" / "notes.txt").read_text() == "mine"


def test_a_deletion_that_is_cut_short_leaves_a_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whole_folder(tmp_path / "step-1") as folder:
        seal(folder)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            atomic.discard(tmp_path / "step-1")
    atomic.clean_temporaries(tmp_path, "step-1")
    assert list(tmp_path.iterdir()) == []


def test_what_a_temporary_link_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("1")
    link = tmp_path / ".step-1.tmp"
    link.symlink_to(tmp_path / "mine")
    atomic.delete_temporary(link)
    assert not os.path.lexists(link)
    assert (tmp_path / "mine" / "a").read_text() == "1"


@pytest.mark.parametrize("theirs", ["file", "folder", ""])
def test_only_what_was_made_is_deleted(tmp_path: Path, theirs: str) -> None:
    run = tmp_path / "run"
    made = atomic.missing({run, run / "a", run / "b", run / "b" / "c"})
    (run / "b").mkdir(parents=True)
    for file in (run / "a", run / "b" / "c"):
        file.write_text("1")
    if theirs == "file":
        (run / "b" / "d").write_text("mine")
    elif theirs:
        (run / "d").mkdir()
    atomic.delete_made(run, made)
    left = sorted(path.relative_to(run).as_posix() for path in run.rglob("*"))
    # A file of another's may belong to what was made, which therefore stays.
    assert left == {"file": ["a", "b", "b/c", "b/d"], "folder": ["d"], "": []}[theirs]
    assert run.exists() == bool(theirs)
