"""Shards that are not as they were written, as training meets them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import DataError

Open = Callable[..., Any]
Write = Callable[..., Any]


@pytest.fixture
def out(pets: Path, tmp_path: Path, open_data: Open, write: Write) -> Path:
    write(open_data("image-folder", root=pets), tmp_path / "out")
    return tmp_path / "out"


def test_missing_and_cut_shards_are_found_when_a_split_is_opened(
    out: Path, open_data: Open
) -> None:
    count = len(list(out.glob("train-*.tar")))
    (out / "train-00001.tar").unlink()
    size = (out / "train-00003.tar").stat().st_size
    os.truncate(out / "train-00003.tar", 1000)
    source = open_data("image-folder", root=out)
    assert len(source.split("test")) == 4
    with pytest.raises(DataError) as error:
        source.split("train")
    first, *lines = str(error.value).splitlines()
    assert first == f"{out}: 2 of {count} shards cannot be used:"
    assert lines[:2] == [
        f"  {out / 'train-00001.tar'}: missing",
        f"  {out / 'train-00003.tar'}: 1,000 bytes, and {size:,} were written",
    ]
    assert "`addkit data shard RECIPE FOLDER --verify`" in lines[2]


def test_a_shard_that_changes_later_is_named(out: Path, open_data: Open) -> None:
    test = open_data("image-folder", root=out).split("test")
    offset = int(test.shards[0, 1])
    path = Path(test.source(0).split(": ")[0])
    content = bytearray(path.read_bytes())
    content[offset + 60] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path.name}: altered since it was written\. `addkit"):
        test.batch([0], None)
    os.truncate(path, offset + 5)
    with pytest.raises(DataError, match=rf"{path.name}: cut short\. `addkit"):
        test.batch([0], None)
    path.unlink()
    fresh = open_data("image-folder", root=out)
    with pytest.raises(DataError, match="missing"):
        fresh.split("test")


def test_a_shard_that_vanishes_later_is_named(out: Path, open_data: Open) -> None:
    train = open_data("image-folder", root=out).split("train")
    Path(train.source(2).split(": ")[0]).unlink()
    with pytest.raises(DataError, match=r"tar: cannot be read \(No such file or directory\)"):
        train.batch([2], 1)


def test_a_broken_image_within_a_whole_shard_is_named(
    tmp_path: Path, coco: Path, open_data: Open, write: Write
) -> None:
    broken = coco / "val2014" / "val2014_1.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    write(open_data("coco-captions", root=coco), tmp_path / "out", "coco-captions")
    test = open_data("coco-captions", root=tmp_path / "out").split("test")
    with pytest.raises(DataError, match=r"test-00000\.tar: val2014/val2014_1\.jpg: cut short"):
        test.batch([1], None)


def test_a_newer_index(out: Path, open_data: Open) -> None:
    index = json.loads((out / "shards.json").read_text())
    (out / "shards.json").write_text(json.dumps({**index, "version": 2, "more": []}))
    with pytest.raises(DataError) as error:
        open_data("image-folder", root=out)
    assert str(error.value) == (
        f"{out / 'shards.json'}: of version 2; this addkit reads 1.\n"
        "Update addkit, or write the shards again with this one."
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", r"no JSON \(Expecting property"),
        ("[]", r"damaged \(: Input should be"),
        ('{"version": 1}', r"damaged \(data: Field required\)"),
    ],
)
def test_a_damaged_index(out: Path, open_data: Open, content: str, reason: str) -> None:
    (out / "shards.json").write_text(content)
    with pytest.raises(DataError, match=rf"shards\.json: {reason}"):
        open_data("image-folder", root=out)


OUTSIDE = ("../other.tar", "/etc/passwd", "", ".", "..")
NUMBERS = (-1, 2**80, 1e300, "x", None, [])
SHARD = [
    *(("name", name) for name in (*OUTSIDE, "a/b.tar", 3)),
    *((key, value) for key in ("samples", "bytes") for value in (*NUMBERS, 99)),
]
MEMBERS = [
    *(("names", value) for value in ([1], [None], "abc", ["cat/cat1.png"] * 3)),
    *(("offsets", value) for value in ([], [-1, 0, 0], [2**70], ["x"], [10**9] * 3)),
    *(("crc32", value) for value in ([1], None)),
    *(("bytes", value) for value in (1, "x")),
]


# In one test, since writing shards takes longer than reading an index.
def test_an_index_that_cannot_be(out: Path, open_data: Open) -> None:
    file, path = out / "shards.json", out / "members" / "train-00000.json"
    text, members = file.read_text(), json.loads(path.read_text())

    def refused(index: object, place: str) -> None:
        file.write_text(json.dumps(index))
        with pytest.raises(DataError, match=rf"^{out}/{place}\.json: "):
            open_data("image-folder", root=out)

    for key, value in SHARD:
        index = json.loads(text)
        index["shards"][0][key] = value
        refused(index, r"(shards|members/\S*)")
    for name in (*OUTSIDE, "a/../../b"):
        refused({**json.loads(text), "files": [{"name": name, "bytes": 1, "sha256": ""}]}, "shards")
    index = json.loads(text)
    refused({**index, "shards": index["shards"] * 2}, "shards")
    shard = next(shard for shard in index["shards"] if shard["name"] == "train-00000.tar")
    for key, value in MEMBERS:
        path.write_text(json.dumps({**members, key: value}))
        # As if it had been written so: its checksum fits.
        shard["members_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        refused(index, "(shards|members/train-00000)")


def test_what_is_no_index(out: Path, open_data: Open) -> None:
    for file in (out / "members" / "train-00000.json", out / "shards.json"):
        for content in (b"", b"\xff", b"[" * 99999, b"null", b'{"version": "x"}'):
            file.write_bytes(content)
            with pytest.raises(DataError, match=rf"^{re.escape(str(file))}:"):
                open_data("image-folder", root=out)


def test_an_index_with_a_byte_order_mark(out: Path, open_data: Open) -> None:
    text = (out / "shards.json").read_text()
    (out / "shards.json").write_text(text, "utf-8-sig")
    open_data("image-folder", root=out)


def test_altered_and_missing_members(out: Path, open_data: Open) -> None:
    path = out / "members" / "train-00000.json"
    content = json.loads(path.read_text())
    content["names"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train-00000\.json: altered since it was written\. Give"):
        open_data("image-folder", root=out)
    path.unlink()
    with pytest.raises(DataError, match=r"train-00000\.json: cannot be read \(No such file"):
        open_data("image-folder", root=out)


def test_unfinished_shards(out: Path, open_data: Open) -> None:
    (out / "shards.json").unlink()
    with pytest.raises(DataError, match=r"not finished \(shards\.json is missing\)\. Give the"):
        open_data("image-folder", root=out)


def test_only_so_many_shards_are_open_at_once(
    out: Path, open_data: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = [], []
    real_open, real_close = os.open, os.close
    monkeypatch.setattr("addkit.data.shards.read._MOST_OPEN", 2)
    train = open_data("image-folder", root=out).split("train")

    def counted_open(path: Any, *rest: Any) -> int:
        descriptor = real_open(path, *rest)
        if str(path).endswith(".tar"):
            opened.append(descriptor)
        return descriptor

    def counted_close(descriptor: int) -> None:
        closed.append(descriptor)
        real_close(descriptor)

    monkeypatch.setattr(os, "open", counted_open)
    monkeypatch.setattr(os, "close", counted_close)
    train.batch(range(len(train)), None)
    assert len(opened) > 3
    assert len(opened) - len([one for one in closed if one in opened]) <= 2
