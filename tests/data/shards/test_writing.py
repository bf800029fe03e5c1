"""Shards are written whole or not at all, and once."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.data.digits import Digits
from addkit.data.settings import DigitsConfig
from addkit.data.shards.index import verify_shards
from addkit.errors import DataError, RunError, UsageError

Paint = Callable[..., Path]
Open = Callable[..., Any]
Write = Callable[..., Any]


@pytest.fixture
def source(pets: Path, open_data: Open) -> Any:
    return open_data("image-folder", root=pets)


@pytest.fixture
def out(tmp_path: Path, source: Any, write: Write) -> Path:
    """Finished shards."""
    write(source, tmp_path / "out")
    return tmp_path / "out"


def _contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }


class _Killed(BaseException):
    """Nothing cleans up after it but what a context manager must."""


def test_a_stopped_run_resumes(
    out: Path, tmp_path: Path, source: Any, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def kill(shard: Any, before: bool) -> None:
        written.append(shard.name)
        if len(written) == 2:
            raise _Killed

    other = tmp_path / "other"
    with pytest.raises(_Killed):
        write(source, other, jobs=1, report=kill)
    assert not (other / "shards.json").exists()
    with pytest.raises(DataError, match=r"its shards are not finished \(shards.json is missing\)"):
        verify_shards(other)
    # As a kill -9 in the middle of a shard, and between a shard and its members, leaves them.
    (other / ".train-00003.tar.77.tmp").write_bytes(b"half")
    (other / "members" / ".train-00003.json.77.tmp").write_bytes(b"{")
    (other / "members" / "train-00001.json").unlink()
    before = {}
    written = write(source, other, report=lambda shard, was: before.update({shard.name: was}))
    assert before["train-00000.tar"]
    assert not before["train-00001.tar"]
    assert written.kept == sum(before.values())
    assert _contents(other) == _contents(out)


def test_a_second_run_writes_nothing(
    out: Path, source: Any, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = _contents(out)
    monkeypatch.setattr("addkit.data.shards.write._write", lambda *_: pytest.fail("again"))
    written = write(source, out)
    assert written.kept == len(written.shards)
    assert _contents(out) == contents
    assert verify_shards(out) == (written.shards, [])


BREAK: dict[str, Callable[[Path], Any]] = {
    "flipped": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "missing": Path.unlink,
}
SAID = {
    "flipped": "altered: another checksum",
    "cut": " bytes, and ",
    "missing": "cannot be read (No such file or directory)",
}


def _flipped(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.parametrize("how", BREAK)
def test_broken_files_are_found_and_written_again(
    out: Path, source: Any, write: Write, how: str
) -> None:
    contents = _contents(out)
    BREAK[how](out / "train-00002.tar")
    _, broken = verify_shards(out, jobs=2)
    assert [one.file for one in broken] == [str(out / "train-00002.tar")]
    assert SAID[how] in broken[0].problem
    written = write(source, out)
    assert written.kept == len(written.shards) - 1
    assert _contents(out) == contents
    assert verify_shards(out)[1] == []


@pytest.mark.parametrize("how", BREAK)
def test_members_that_break_are_found_and_written_again(
    out: Path, source: Any, write: Write, how: str
) -> None:
    contents = _contents(out)
    BREAK[how](out / "members" / "test-00000.json")
    _, broken = verify_shards(out)
    assert [one.file for one in broken] == [str(out / "members" / "test-00000.json")]
    write(source, out)
    assert _contents(out) == contents


def test_an_index_that_breaks_is_written_again(out: Path, source: Any, write: Write) -> None:
    contents = _contents(out)
    (out / "shards.json").write_text("{")
    with pytest.raises(DataError, match=r"shards.json: no JSON \(Expecting"):
        verify_shards(out)
    write(source, out)
    assert _contents(out) == contents


def test_no_shards_to_verify(pets: Path) -> None:
    with pytest.raises(DataError, match="pets: contains no shards"):
        verify_shards(pets)


def _touch(pets: Path) -> None:
    os.utime(pets / "cat" / "cat1.png", (1, 1))


CHANGES: dict[str, Callable[[Path], Any]] = {
    "an image more": lambda pets: (pets / "cat" / "new.png").write_bytes(
        (pets / "cat" / "cat1.png").read_bytes()
    ),
    "an image less": lambda pets: (pets / "cat" / "cat1.png").unlink(),
    "another time": _touch,
    "another class": lambda pets: (pets / "dog").rename(pets / "animal"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_is_refused(
    out: Path, pets: Path, open_data: Open, write: Write, change: str
) -> None:
    contents = _contents(out)
    CHANGES[change](pets)
    with pytest.raises(DataError, match=r"tar was made of other images, captions, labels or times"):
        write(open_data("image-folder", root=pets), out)
    assert _contents(out) == contents


@pytest.mark.parametrize("settings", [{"seed": 1}, {"shard_size": 9000}])
def test_other_settings_are_refused(
    out: Path, source: Any, write: Write, settings: dict[str, int]
) -> None:
    with pytest.raises(DataError, match=r"or with another --shard-size or seed"):
        write(source, out, **settings)


def test_data_that_change_while_they_are_written(
    tmp_path: Path, source: Any, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = Path(source.split("train").source(0))

    def grow(*_: Any) -> dict[str, Any]:
        victim.write_bytes(victim.read_bytes() + b"x")
        return {}

    # Called between the plan and the first shard.
    monkeypatch.setattr("addkit.data.shards.write._recorded", grow)
    with pytest.raises(DataError, match=rf"{victim.name}: has changed while the shards were"):
        write(source, tmp_path / "out")
    assert not (tmp_path / "out" / "shards.json").exists()


def test_an_image_that_vanishes(tmp_path: Path, source: Any, write: Write) -> None:
    source.split("train")
    path = Path(source.split("test").source(1))
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}: cannot be read \(No such file"):
        write(source, tmp_path / "out")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written(
    out: Path, tmp_path: Path, source: Any, write: Write, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    other, real, calls = tmp_path / "other", os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            RunError, match=r"members/train-00001\.json: cannot be written: "
        ) as error:
            write(source, other, jobs=1)
    assert str(error.value).startswith(f"{other}/")
    assert "then repeat the command" in str(error.value)
    assert not [path for path in other.rglob("*") if path.suffix == ".tmp"]
    assert write(source, other).kept >= 1
    assert _contents(other) == _contents(out)


def test_a_disk_that_loses_bytes(
    tmp_path: Path, source: Any, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addkit.data.shards.write.checksum", lambda path: "0")
    with pytest.raises(DataError, match="gives back other bytes than were written"):
        write(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["members"]


def test_output_folders_that_are_refused(
    pets: Path, tmp_path: Path, source: Any, write: Write
) -> None:
    with pytest.raises(DataError, match=r"out is in .*pets, among the images"):
        write(source, pets / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(DataError, match="full contains other files"):
        write(source, tmp_path / "full")
    with pytest.raises(RunError, match="cannot be written: Not a directory"):
        write(source, tmp_path / "full" / "a.txt" / "out")


def test_data_that_cannot_be_sharded(out: Path, open_data: Open, write: Write) -> None:
    with pytest.raises(UsageError, match=r"data\.root: .*out is a folder of shards"):
        write(open_data("image-folder", root=out), out.with_name("again"))
    with pytest.raises(
        UsageError, match=r'data\.name = "digits": its images are no files of their own'
    ):
        write(Digits(DigitsConfig()), out.with_name("again"), "digits")


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no UTF-8")
def test_names_that_are_no_utf_8(pets: Path, tmp_path: Path, open_data: Open, write: Write) -> None:
    root = tmp_path / "both"
    for part in ("train", "test"):
        shutil.copytree(pets, root / part)
        odd = os.fsdecode(b"\xff.png")
        (root / part / "cat" / "cat0.png").rename(root / part / "cat" / odd)
    folder = open_data("image-folder", root=root)
    write(folder, tmp_path / "out")
    shards = open_data("image-folder", root=tmp_path / "out")
    for name in ("train", "test"):
        one, other = folder.split(name), shards.split(name)
        assert [str(root / other.source(i).split(": ")[1]) for i in range(20)] == [
            one.source(i) for i in range(20)
        ]
