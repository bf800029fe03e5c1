from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.errors import AddkitWarning, RunError
from addkit.runs.atomic import clean_temporaries
from addkit.runs.checkpoint_files import (
    FILES,
    checkpoint_of,
    fault_of,
    newest_whole,
    pointed_at,
    seal,
)

Save = Callable[..., Path]


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-7] ^= 1
    file.write_bytes(content)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def _grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def _hide(file: Path) -> None:
    file.unlink()
    file.mkdir()


WAYS = [
    (_flip, "altered: its checksum differs"),
    (_cut, "truncated: 20 of {size} bytes"),
    (_grow, "altered: {more} bytes in place of {size}"),
    (Path.unlink, "missing"),
    (_hide, "missing"),
]


def test_before_the_first_there_is_none(tmp_path: Path) -> None:
    assert newest_whole(tmp_path) == (None, [])
    assert newest_whole(tmp_path / "nowhere") == (None, [])
    assert (checkpoint_of(tmp_path), pointed_at(tmp_path, "best")) == (None, None)


def test_the_newest_is_whole(save: Save) -> None:
    save(1)
    path = save(2)
    assert newest_whole(path.parent) == (path, [])


@pytest.mark.parametrize(("broken", "what"), WAYS)
def test_a_broken_one_is_named_and_the_one_before_is_taken(
    save: Save, broken: Callable[[Path], None], what: str
) -> None:
    first, second, third = (save(step) for step in (1, 2, 3))
    file = third / "raw.safetensors"
    size = file.stat().st_size
    broken(file)
    raised = what.format(size=size, more=size + 1)
    assert newest_whole(third.parent) == (second, [f"{file}: {raised}"])
    broken(second / "raw.safetensors")
    checkpoint, refused = newest_whole(third.parent)
    assert checkpoint == first
    assert [line.split(": ")[0] for line in refused] == [
        str(path / "raw.safetensors") for path in (third, second)
    ]


@pytest.mark.parametrize("broken", [_cut, _flip])
def test_every_file_counts(save: Save, broken: Callable[[Path], None]) -> None:
    path, newer = save(1), save(2)
    broken(newer / "progress.json")
    checkpoint, refused = newest_whole(path.parent)
    assert checkpoint == path
    assert refused[0].startswith(f"{newer / 'progress.json'}: ")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"progress.json": {}}', "\ud800"])
def test_broken_checksums_are_named(save: Save, text: str) -> None:
    path, newer = save(1), save(2)
    (newer / "checksums.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    checkpoint, refused = newest_whole(path.parent)
    assert checkpoint == path
    assert refused[0].startswith(f"{newer / 'checksums.json'}: cannot be read: ")


def test_no_whole_checkpoint_is_an_error_with_a_remedy(save: Save) -> None:
    for path in (save(1), save(2)):
        (path / "raw.safetensors").unlink()
    with pytest.raises(RunError) as raised:
        newest_whole(path.parent)
    assert str(raised.value) == (
        f"{path.parent}: no checkpoint is whole ("
        f"{path / 'raw.safetensors'}: missing; "
        f"{path.parent / 'step-00000001' / 'raw.safetensors'}: missing); "
        f"put back a copy of one, or train anew with --run-dir {path.parent.parent} --fresh"
    )


def test_those_before_there_were_checksums_are_taken_as_they_are(save: Save) -> None:
    older, path = save(1), save(2)
    (path / "checksums.json").unlink()
    _flip(path / "raw.safetensors")
    assert newest_whole(path.parent) == (path, [])
    (path / "progress.json").unlink()
    assert newest_whole(path.parent) == (older, [f"{path / 'progress.json'}: missing"])


POINTERS = [b"step-00000009", b"", b"\0\0\0", b"\xff\xfe", b"../elsewhere", None, "a folder"]
"""What is found in place of a pointer; None: nothing."""


@pytest.mark.parametrize("text", POINTERS)
def test_a_lost_pointer_is_repaired(save: Save, text: bytes | str | None) -> None:
    save(1)
    path = save(2)
    latest = path.parent / "latest"
    latest.unlink()
    if text == "a folder":
        latest.mkdir()
        (latest / "mine").touch()
    elif isinstance(text, bytes):
        latest.write_bytes(text)
    with pytest.warns(AddkitWarning, match=r"latest: .*; step-00000002 is the newest checkpoint"):
        assert checkpoint_of(path.parent) == path
    if text == "a folder":
        assert (latest / "mine").exists()
    else:
        assert latest.read_text() == "step-00000002\n"
        assert newest_whole(path.parent) == (path, [])


def test_a_lost_pointer_passes_over_a_broken_checkpoint(save: Save) -> None:
    older, path = save(9), save(10)
    (path / "progress.json").unlink()
    with pytest.warns(AddkitWarning, match=r"progress\.json: missing"):
        assert checkpoint_of(path.parent) == older
    assert (path.parent / "latest").read_text() == "step-00000009\n"
    (older / "progress.json").unlink()
    with pytest.raises(RunError, match=r"no checkpoint is whole .* --run-dir .*run --fresh"):
        checkpoint_of(path.parent)
    shutil.rmtree(older)
    shutil.rmtree(path)
    with pytest.raises(RunError, match="no checkpoint is whole"):
        newest_whole(path.parent)


def test_a_pointer_on_a_read_only_disk(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(1)
    (path.parent / "latest").unlink()
    monkeypatch.setattr(Path, "write_bytes", _read_only)
    with pytest.warns(AddkitWarning, match="latest: missing"):
        assert checkpoint_of(path.parent) == path
    assert not (path.parent / "latest").exists()


def _read_only(path: Path, content: bytes) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_latest_can_be_set_back_by_hand(save: Save) -> None:
    path, newer = save(9), save(10)
    (path.parent / "latest").write_text("step-00000009\n")
    assert newest_whole(path.parent) == (path, [])
    _cut(path / "raw.safetensors")
    assert newest_whole(path.parent)[0] == newer


def test_steps_are_compared_as_numbers(save: Save) -> None:
    save(99_999_999)
    path = save(100_000_000)
    (path.parent / "latest").unlink()
    assert newest_whole(path.parent)[0] == path


def test_the_best_one(save: Save) -> None:
    path = save(1, is_best=True)
    save(2)
    assert pointed_at(path.parent, "best") == path
    shutil.rmtree(path)
    assert pointed_at(path.parent, "best") is None


MINE = (".thesis.tmp", "mine.tmp", ".step-1.bak.7.tmp", ".mine.old", "my-old-model.pt", ".x.9.tmp")


def test_temporaries_of_a_killed_writer_go_by_name(save: Save) -> None:
    path = save(1)
    folder = path.parent
    (folder / ".step-00000002.tmp" / "sharded").mkdir(parents=True)
    (folder / ".step-00000002.tmp" / "sharded" / "0").write_bytes(b"x")
    (folder / ".latest.123.tmp").write_text("step")
    for name in MINE:
        (folder / name).write_text("x")
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (folder / ".step-00000003.tmp").symlink_to(elsewhere)
    clean_temporaries(folder, FILES)
    assert {one.name for one in folder.iterdir()} == {"latest", path.name, *MINE}
    assert (elsewhere / "kept").exists()


def test_a_checkpoint_that_was_being_replaced_comes_back(save: Save) -> None:
    path = save(1)
    path.rename(path.with_name(".step-00000001.old"))
    clean_temporaries(path.parent, FILES)
    assert newest_whole(path.parent) == (path, [])


@pytest.mark.parametrize("name", ["../elsewhere", "copy"])
def test_a_pointer_names_a_checkpoint_of_its_folder(save: Save, name: str) -> None:
    folder = save(1).parent
    other = folder / name
    other.mkdir()
    (other / "progress.json").write_text("{}")
    (folder / "latest").write_text(name)
    assert pointed_at(folder, "latest") is None


def test_a_folder_may_be_sealed_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    for _ in range(2):
        seal(tmp_path)
    assert list(json.loads((tmp_path / "checksums.json").read_text())) == ["a"]
    assert fault_of(tmp_path) is None
