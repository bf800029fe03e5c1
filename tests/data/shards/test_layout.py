"""What other programs find in the tar files."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addkit.errors import DataError

Paint = Callable[..., Path]
Open = Callable[..., Any]
Write = Callable[..., Any]

KEY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")


def _samples(out: Path, split: str) -> Iterator[dict[str, bytes]]:
    """As webdataset reads: members in a row whose names are equal up to the first dot."""
    for path in sorted(out.glob(f"{split}-*.tar")):
        with tarfile.open(path) as tar:
            sample: dict[str, bytes] = {}
            for member in tar:
                key, suffix = KEY.fullmatch(member.name).groups()
                if sample and sample["__key__"] != key.encode():
                    yield sample
                    sample = {}
                assert suffix not in sample
                sample |= {"__key__": key.encode(), suffix: tar.extractfile(member).read()}
            yield sample


def test_images_are_the_files_bytes_side_inputs_their_classes(
    pets: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    out = tmp_path / "out"
    written = write(open_data("image-folder", root=pets), out)
    assert len(written.shards) > 4
    found = [(s["png"], s["cls"]) for part in ("train", "test") for s in _samples(out, part)]
    files = [
        (path.read_bytes(), str(int(path.parent.name == "dog")).encode())
        for path in pets.rglob("*.png")
    ]
    assert sorted(found) == sorted(files)
    assert {shard.split: 0 for shard in written.shards}.keys() == {"train", "test"}
    assert sum(shard.samples for shard in written.shards) == 20
    keys = [sample["__key__"].decode() for sample in _samples(out, "train")]
    assert keys == [f"{number:08}" for number in range(16)]


def test_training_images_are_mixed_once_and_others_lie_in_order(
    pets: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    orders = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        source = open_data("image-folder", root=pets)
        write(source, tmp_path / name, seed=seed)
        orders[name] = {
            split: [sample["png"] for sample in _samples(tmp_path / name, split)]
            for split in ("train", "test")
        }
        for split, order in orders[name].items():
            files = [Path(source.split(split).source(i)).read_bytes() for i in range(len(order))]
            assert sorted(order) == sorted(files)
            assert (order == files) == (split == "test")
    assert orders["a"] == orders["b"]
    assert orders["a"]["train"] != orders["c"]["train"]
    for first, second in zip(*(sorted((tmp_path / n).glob("*.tar")) for n in "ab"), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_captions(coco: Path, tmp_path: Path, open_data: Open, write: Write) -> None:
    out = tmp_path / "out"
    write(open_data("coco-captions", root=coco), out, "coco-captions")
    samples = list(_samples(out, "test"))
    assert [sample["txt"].decode() for sample in samples] == [
        f"A val20 number {i}." for i in (0, 1, 2)
    ]
    annotations = json.loads(samples[1]["json"])
    assert annotations == {
        "file": "val2014/val2014_1.jpg",
        "captions": ["A val20 number 1.", "More of it"],
    }
    assert samples[1]["jpg"] == (coco / annotations["file"]).read_bytes()
    assert json.loads((out / "shards.json").read_text())["class_names"] == []


def test_attributes(table: Path, tmp_path: Path, open_data: Open, write: Write) -> None:
    out = tmp_path / "out"
    write(open_data("attribute-table", file=table), out, "attribute-table")
    annotations = [json.loads(sample["json"]) for sample in _samples(out, "train")]
    assert all(one.keys() == {"file", "size", "tone"} for one in annotations)
    assert {one["tone"] for one in annotations} == {"dark", "light", None}
    rows = {line.split(",")[0]: line.split(",")[1] for line in table.read_text().splitlines()}
    assert all(one["size"] == rows[one["file"]] for one in annotations)


def test_names_that_would_mislead_are_replaced(
    tmp_path: Path, paint: Paint, open_data: Open, write: Write
) -> None:
    root = tmp_path / "odd"
    for kind in ("a", "b.c"):
        for name in ("x.final.PNG", "y", "z.txt", "w.p~g"):
            path = paint(root / kind / f"{name}.png")
            path.rename(root / kind / name)
    write(open_data("image-folder", root=root, test_share=0.5), tmp_path / "out")
    kinds = [sample.keys() - {"__key__", "cls"} for sample in _samples(tmp_path / "out", "train")]
    assert sorted(map(min, kinds)) in (["image"] * n + ["png"] * (4 - n) for n in (2, 3, 4))
    shards = open_data("image-folder", root=tmp_path / "out", test_share=0.5)
    assert shards.split("train").batch(range(4), None).images.shape == (4, 3, 8, 8)


def test_classes_are_named_in_the_index(
    pets: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    write(open_data("image-folder", root=pets), tmp_path / "out")
    index = json.loads((tmp_path / "out" / "shards.json").read_text())
    assert index["class_names"] == ["cat", "dog"]
    assert index["version"] == 1
    assert index["data"] == "image-folder"


def test_side_files_of_one_name(coco: Path, tmp_path: Path, open_data: Open, write: Write) -> None:
    files = [tmp_path / folder / "captions.json" for folder in ("one", "two")]
    for path, part in zip(files, ("train", "val"), strict=True):
        path.parent.mkdir()
        (coco / "annotations" / f"captions_{part}2014.json").rename(path)
    settings = {"train_captions": files[0], "val_captions": files[1]}
    with pytest.raises(DataError, match=r"one/captions.json and .*two/captions.json would both"):
        write(open_data("coco-captions", root=coco, **settings), tmp_path / "out", "coco-captions")
