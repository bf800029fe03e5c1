"""Zips and folders that are no packs, or try to be more: each is refused, and nothing is left."""

from __future__ import annotations

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import addkit
from addkit.errors import RunError
from addkit.runs import packs
from addkit.runs.checkpoint_files import checksum_of
from addkit.runs.opening import opened

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture
def members(digits_pack: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(digits_pack) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


def _zip(file: Path, members: dict[str, bytes], *more: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for info, content in more:
            archive.writestr(info, content)
    return file


def _info(name: str, mode: int = 0o100644, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, method
    return info


NAMES = ("../x", "a/../../x", "/x", "C:\\x", "C:x", "..\\x", "a\\b", "x\ny", "\\\\host\\x")


@pytest.mark.parametrize("name", NAMES)
def test_members_that_lead_out(
    members: dict[str, bytes], tmp_path: Path, place: Path, name: str
) -> None:
    file = _zip(tmp_path / "x.zip", members, (_info(name), b"x"))
    with pytest.raises(RunError, match="leads out"):
        addkit.load(file)
    assert {path.name for path in tmp_path.iterdir()} == {"temporary", "x.zip"}
    assert not any(place.iterdir())


@pytest.mark.parametrize(
    ("info", "content", "match"),
    [
        (_info("link", stat.S_IFLNK | 0o777), b"/etc/passwd", "a link"),
        (_info("pipe", stat.S_IFIFO | 0o777), b"", "a link"),
        (_info("RECIPE.toml"), b"", "two members"),
        (_info("x", method=zipfile.ZIP_LZMA), b"x", "method 14"),
        (_info("x", method=zipfile.ZIP_DEFLATED), bytes(10**6), "bytes that become"),
    ],
    ids=lambda value: getattr(value, "filename", None),
)
def test_members_of_other_kinds(
    members: dict[str, bytes],
    tmp_path: Path,
    place: Path,
    info: zipfile.ZipInfo,
    content: bytes,
    match: str,
) -> None:
    with pytest.raises(RunError, match=match):
        addkit.load(_zip(tmp_path / "x.zip", members, (info, content)))
    assert not any(place.iterdir())


def test_counts_and_sizes(
    members: dict[str, bytes], tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [(_info(f"x{number}"), b"") for number in range(packs.MOST_MEMBERS)]
    with pytest.raises(RunError, match="70 members; at most 64"):
        addkit.load(_zip(tmp_path / "many.zip", members, *many))
    file = _zip(tmp_path / "x.zip", members)
    # A list of members that would fill the memory is not read.
    monkeypatch.setattr(packs, "AT_ONCE", 100)
    with pytest.raises(RunError, match="list of members has"):
        addkit.load(file)
    monkeypatch.undo()
    monkeypatch.setattr(packs, "MOST_BYTES", 10_000)
    with pytest.raises(RunError, match="bytes when unpacked"):
        addkit.load(file)
    monkeypatch.undo()
    monkeypatch.setattr(packs, "MOST_TEXT", 100)
    with pytest.raises(RunError, match="larger than 100 bytes"):
        addkit.load(file)


def test_encrypted_members(members: dict[str, bytes], tmp_path: Path) -> None:
    file = _zip(tmp_path / "x.zip", members)
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="encrypted"):
        addkit.load(file)


def test_files_that_are_no_packs(tmp_path: Path, members: dict[str, bytes]) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "empty.zip").touch()
    _zip(tmp_path / "other.zip", {"a.txt": b"x"})
    _zip(tmp_path / "below.zip", {f"digits/{name}": value for name, value in members.items()})
    for name in ("text", "empty", "other", "below"):
        with pytest.raises(RunError, match=f"{name}.zip: no pack"):
            addkit.load(tmp_path / f"{name}.zip")


def _sums(members: dict[str, bytes], **changes: object) -> None:
    sums = json.loads(members["checksums.json"])
    members["checksums.json"] = json.dumps({**sums, **changes}).encode()


def _append(name: str) -> Change:
    return lambda members: members.update({name: members[name] + b" "})


CHANGES: dict[str, Change] = {
    "a longer file": _append("facts.json"),
    "other weights": lambda m: m.update({"model.safetensors": m["model.safetensors"][:-1] + b"x"}),
    "no weights": lambda m: m.pop("model.safetensors") and None,
    "no checksums": lambda m: m.pop("checksums.json") and None,
    "checksums of nothing": lambda m: m.update({"checksums.json": b"{}"}),
    "checksums as a list": lambda m: m.update({"checksums.json": b"[1, 2]"}),
    "checksums of numbers": lambda m: m.update({"checksums.json": b"7"}),
    "deep checksums": lambda m: m.update({"checksums.json": b"[" * 10_000}),
    "a listed script": lambda m: _sums(m, **{"x.py": {"size": 1, "sha256": ""}}),
    "a listed pickle": lambda m: _sums(m, **{"x.pth": {"size": 1, "sha256": ""}}),
    "a listed path": lambda m: _sums(m, **{"../x.json": {"size": 1, "sha256": ""}}),
    "a listed file that is missing": lambda m: _sums(m, **{"x.json": {"size": 1, "sha256": ""}}),
    "no size": lambda m: _sums(m, **{"facts.json": {}}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_damaged_packs(
    members: dict[str, bytes], tmp_path: Path, place: Path, change: Change
) -> None:
    change(members)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    for where in (_zip(tmp_path / "x.zip", members), folder):
        with pytest.raises(RunError):
            addkit.load(where)
    assert not any(place.iterdir())


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("manifest.json", {"format": 99}, "upgrade addkit"),
        ("manifest.json", {"weights": "other"}, "weights"),
        ("facts.json", {"num_tokens": -1}, "num_tokens must be from 1"),
        ("facts.json", {"image_channels": 10**12}, "image_channels must be from 1"),
        ("facts.json", {"num_classes": 10**30}, "num_classes must be from 1"),
        ("facts.json", {"num_classes": 11}, "does not fit"),
    ],
)
def test_packs_that_are_whole_and_wrong(
    digits_pack: Path, name: str, changes: dict[str, object], match: str
) -> None:
    with opened(digits_pack) as folder:
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        sums = json.loads((folder / "checksums.json").read_text())
        (folder / "checksums.json").write_text(json.dumps(sums | {name: checksum_of(file)}))
        with pytest.raises(RunError, match=match):
            addkit.load(folder)


def test_what_was_added_is_not_unpacked(members: dict[str, bytes], tmp_path: Path) -> None:
    more = [(_info("LICENSE"), b"x"), (_info("pictures/a.png"), b"x"), (_info("run.py"), b"x")]
    members["README.md"] = b"edited"
    with opened(_zip(tmp_path / "x.zip", members, *more)) as folder:
        assert {path.name for path in folder.iterdir()} == members.keys() - {"README.md"}
    # As other programs pack it: compressed, in another order.
    with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members, reverse=True):
            archive.writestr(name, members[name])
    assert addkit.load(tmp_path / "y.zip").weights == "ema"


def test_every_cut_and_many_flipped_bytes(digits_pack: Path, tmp_path: Path, place: Path) -> None:
    """Half a zip is no pack; a flipped byte is found, or is in what nobody reads."""
    whole, file = digits_pack.read_bytes(), tmp_path / "x.zip"
    for size in (*range(0, 200, 29), *range(200, len(whole), len(whole) // 5), len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(RunError), opened(file):
            pass
    card = whole.index(b"checksums.json")
    # Of the headers, the checksums and the list of members.
    for index in (*range(card - 40, card + 600, 41), *range(len(whole) - 500, len(whole), 11)):
        flipped = bytearray(whole)
        flipped[index] ^= 0x55
        file.write_bytes(flipped)
        try:
            with opened(file) as folder:
                packs.check_pack(folder)
        except RunError:
            pass
    assert not any(place.iterdir())


def test_links_in_a_folder_lead_nowhere_new(digits_pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    zipfile.ZipFile(digits_pack).extractall(folder)
    (folder / "facts.json").rename(tmp_path / "facts.json")
    (folder / "facts.json").symlink_to(tmp_path / "facts.json")
    # huggingface_hub's cache is made of links; the checksum counts.
    assert addkit.load(folder).weights == "ema"
    shutil.copy(digits_pack, folder / "facts.json.zip")
    with pytest.raises(RunError, match="no pack"):
        addkit.load(io.__file__)
