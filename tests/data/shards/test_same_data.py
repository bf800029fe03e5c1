"""Shards read as the folder that they were made of."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.data.loader import epoch_batches, load
from addkit.data.settings import DataWarning
from addkit.errors import DataError
from addkit.plugin.values import Batch
from addkit.recipe.tables import Augmentation

Paint = Callable[..., Path]
Open = Callable[..., Any]
Write = Callable[..., Any]

AUGMENTATION = Augmentation.model_validate({"flip": 0.5, "crop": [0.3, 1.0]})


def _assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert one.texts == other.texts
    if one.references is not None:
        assert torch.equal(one.references, other.references)
        assert torch.equal(one.reference_counts, other.reference_counts)


def _assert_same_data(folder: Any, shards: Any, root: Path, out: Path) -> None:
    """Facts, and every split with and without augmentation; sources name shard and file."""
    assert replace(shards.facts, files=()) == replace(folder.facts, files=())
    for name in folder.facts.split_sizes:
        one, other = (data.augmented(AUGMENTATION).split(name) for data in (folder, shards))
        assert len(one) == len(other)
        for seed in (None, 5):
            _assert_same(one.batch(range(len(one)), seed), other.batch(range(len(one)), seed))
        for index in range(len(one)):
            shard, _, file = other.source(index).partition(": ")
            assert Path(shard).parent == out
            assert Path(shard).name.startswith(name)
            assert str(root / file) == one.source(index)
            assert one.picture(index).tobytes() == other.picture(index).tobytes()


@pytest.mark.parametrize("validation", [0, 0.25])
def test_a_folder_of_classes(
    pets: Path, tmp_path: Path, open_data: Open, write: Write, validation: float
) -> None:
    out, settings = tmp_path / "out", {"validation": validation}
    folder = open_data("image-folder", root=pets, **settings)
    write(folder, out)
    pets.rename(tmp_path / "away")
    shards = open_data("image-folder", root=out, **settings)
    assert shards.facts.files == (out,)
    (tmp_path / "away").rename(pets)
    _assert_same_data(folder, shards, pets, out)


def test_folders_of_splits_and_names_that_begin_alike(
    tmp_path: Path, paint: Paint, open_data: Open, write: Write
) -> None:
    root = tmp_path / "all"
    for part in ("train", "val", "test"):
        for kind in ("cat", "cat-big", "cat.x"):
            paint(root / part / kind / f"{part}.png")
            paint(root / part / kind / "more" / f"{part}2.png")
    folder = open_data("image-folder", root=root)
    write(folder, tmp_path / "out")
    shards = open_data("image-folder", root=tmp_path / "out")
    assert shards.facts.class_names == ("cat", "cat-big", "cat.x")
    _assert_same_data(folder, shards, root, tmp_path / "out")


def test_other_shares_than_the_shards_were_written_with(
    pets: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    write(open_data("image-folder", root=pets), tmp_path / "out")
    settings = {"test_share": 0.4, "validation": 0.3, "split_seed": 3}
    folder = open_data("image-folder", root=pets, **settings)
    shards = open_data("image-folder", root=tmp_path / "out", **settings)
    assert shards.facts.split_sizes == folder.facts.split_sizes
    for name in folder.facts.split_sizes:
        one, other = folder.split(name), shards.split(name)
        _assert_same(one.batch(range(len(one)), None), other.batch(range(len(one)), None))


def test_imagenet(
    tmp_path: Path, paint: Paint, open_data: Open, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "imagenet"
    for part in ("train", "val"):
        for wordnet_id in ("n01440764", "n01443537"):
            for number in range(3):
                paint(root / part / wordnet_id / f"{part}_{number}.JPEG", 12, 9)
    names = {"n01440764": ("tench",), "n01443537": ("goldfish", "Carassius auratus")}
    torch.save((names, []), root / "meta.bin")
    folder = open_data("imagenet", root=root)
    assert folder.facts.class_names == ("tench", "goldfish, Carassius auratus")
    write(folder, tmp_path / "out", "imagenet")
    _assert_same_data(folder, open_data("imagenet", root=tmp_path / "out"), root, tmp_path / "out")


@pytest.mark.parametrize("settings", [{"validation": 0.25}, {"split": "karpathy"}])
def test_coco(
    coco: Path, tmp_path: Path, open_data: Open, write: Write, settings: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    folder = open_data("coco-captions", root=coco, **settings)
    write(folder, out, "coco-captions")
    shards = open_data("coco-captions", root=out, **settings)
    assert shards.facts.files == (out,)
    _assert_same_data(folder, shards, coco, out)
    train = shards.split("train")
    assert epoch_batches(train, 0, 0, steps=2, parts=1, size=3).unique().numel() == 6


def test_coco_whose_files_lie_elsewhere(
    coco: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    (coco / "train2014").rename(tmp_path / "photos")
    (coco / "annotations" / "captions_train2014.json").rename(tmp_path / "mine.json")
    settings = {"train_images": tmp_path / "photos", "train_captions": tmp_path / "mine.json"}
    folder = open_data("coco-captions", root=coco, **settings)
    write(folder, tmp_path / "out", "coco-captions")
    (tmp_path / "mine.json").unlink()
    shards = open_data("coco-captions", root=tmp_path / "out", **settings)
    _assert_same_data(folder, shards, coco, tmp_path / "out")


def test_a_folder_of_captions(
    captions: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    out, settings = tmp_path / "out", {"images": "pictures", "validation": 0.2}
    folder = open_data("caption-folder", root=captions, **settings)
    write(folder, out, "caption-folder")
    shards = open_data("caption-folder", root=out, **settings)
    _assert_same_data(folder, shards, captions, out)
    with pytest.raises(DataError, match=r"data\.images: .*pixels does not exist"):
        open_data("caption-folder", root=out, images="pixels")


def test_texts_beside_images(captions: Path, tmp_path: Path, open_data: Open, write: Write) -> None:
    (captions / "captions.csv").unlink()
    for number in range(10):
        (captions / "pictures" / f"{number}.txt").write_text(f"a thing {number}\nit")
    out, settings = tmp_path / "out", {"images": "pictures"}
    folder = open_data("caption-folder", root=captions, **settings)
    write(folder, out, "caption-folder")
    _assert_same_data(folder, open_data("caption-folder", root=out, **settings), captions, out)


def test_a_table_with_names_of_another_form(
    table: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    out = tmp_path / "out"
    table.write_text(table.read_text().replace("images/", "Images\\"))
    with pytest.warns(DataWarning, match="12 of 12 .*backslashes, case"):
        folder = open_data("attribute-table", file=table)
    write(folder, out, "attribute-table")
    with pytest.warns(DataWarning, match="12 of 12 .*backslashes, case"):
        shards = open_data("attribute-table", file=out / table.name)
    _assert_same_data(folder, shards, table.parent, out)


@pytest.mark.parametrize("moved", ["root", "file"])
def test_a_table(table: Path, tmp_path: Path, open_data: Open, write: Write, moved: str) -> None:
    out = tmp_path / "out"
    folder = open_data("attribute-table", file=table, validation=0.2)
    write(folder, out, "attribute-table")
    place = {"file": table, "root": out} if moved == "root" else {"file": out / table.name}
    shards = open_data("attribute-table", validation=0.2, **place)
    assert shards.facts.files == (out,)
    _assert_same_data(folder, shards, table.parent, out)


def test_unreadable_files_stay_left_out(
    pets: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    for name in ("cat/cat3.png", "dog/dog5.png"):
        (pets / name).write_bytes(b"no image")
    out = tmp_path / "out"
    folder = open_data("image-folder", root=pets, bad_files="skip")
    with pytest.warns(DataWarning, match="left out"):
        write(folder, out)
    shards = open_data("image-folder", root=out, bad_files="skip")
    with pytest.warns(DataWarning) as caught:
        _assert_same_data(folder, shards, pets, out)
    reason = "the shards have no readable image of this name"
    assert {str(warning.message) for warning in caught} == {
        f"left out {out / name}: {reason}" for name in ("cat/cat3.png", "dog/dog5.png")
    }
    with pytest.raises(DataError) as error:
        open_data("image-folder", root=out).split("train")
    assert str(error.value) == (
        f"{out}: the shards lack 2 files that could not be used:\n  cat/cat3.png\n  dog/dog5.png\n"
        'Set data.bad_files = "skip" to do without.'
    )


def test_missing_images_stay_missing(
    table: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    (table.parent / "images" / "4.png").unlink()
    out = tmp_path / "out"
    folder = open_data("attribute-table", file=table, bad_files="skip")
    with pytest.warns(DataWarning, match="4.png is no file"):
        write(folder, out, "attribute-table")
    shards = open_data("attribute-table", file=out / table.name, bad_files="skip")
    with pytest.warns(DataWarning, match="4.png is no file"):
        _assert_same_data(folder, shards, table.parent, out)
    with pytest.raises(DataError, match="1 of 12 images are missing"):
        open_data("attribute-table", file=out / table.name)


def test_shards_can_be_moved_and_read_by_any_number_of_processes(
    pets: Path, tmp_path: Path, open_data: Open, write: Write
) -> None:
    write(open_data("image-folder", root=pets), tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    shutil.rmtree(tmp_path / "out")
    train = open_data("image-folder", root=tmp_path / "copy").split("train")
    batches = [[3, 1], [0, 2, 15]]
    for workers in (0, 2):
        for batch, indices in zip(load(train, batches, 1, workers), batches, strict=True):
            _assert_same(batch, train.batch(indices, 1))
    twin = pickle.loads(pickle.dumps(train))
    _assert_same(twin.batch([4, 5], 1), train.batch([4, 5], 1))
    assert twin.source(4) == train.source(4)
    assert torch.equal(twin.shards, train.shards)
