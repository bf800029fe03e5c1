from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from addkit.data.attribute_table import AttributeTable
from addkit.data.images import prepare_image
from addkit.data.settings import AttributeTableConfig, DataWarning
from addkit.errors import DataError
from addkit.plugin.values import MISSING
from addkit.recipe.tables import Augmentation

Table = Callable[..., Path]
Paint = Callable[..., Path]


def _source(file: Path, **settings: object) -> AttributeTable:
    return AttributeTable(
        AttributeTableConfig.model_validate({"file": file, "image_size": 8, **settings})
    )


def _sources(source: AttributeTable, name: str) -> list[str]:
    split = source.split(name)
    return [split.source(index) for index in range(len(split))]


def test_shares_are_held_out(pets: Path) -> None:
    source = _source(pets, validation=0.25)
    assert source.facts.split_sizes == {"train": 18, "test": 6, "validation": 6}
    everything = [path for name in source.facts.split_sizes for path in _sources(source, name)]
    assert sorted(everything) == sorted(map(str, pets.parent.rglob("*.png")))
    for name in source.facts.split_sizes:
        labels = source.split(name).labels
        assert labels.shape == (source.facts.split_sizes[name], 2)
        for token, (start, stop) in enumerate(source.facts.token_classes):
            assert labels[:, token].min() >= start
            assert labels[:, token].max() < stop


def test_labels_are_those_of_the_table(pets: Path) -> None:
    source = _source(pets)
    names = source.facts.class_names
    written = dict(line.split(",", 1) for line in pets.read_text().splitlines()[1:])
    for name in ("train", "test"):
        split = source.split(name)
        batch = split.batch(range(len(split)), None)
        assert torch.equal(batch.labels, split.labels)
        for index, labels in enumerate(batch.labels.tolist()):
            image = Path(split.source(index)).relative_to(pets.parent)
            assert ",".join(names[label] for label in labels) == written[str(image)]


def test_the_split_is_the_same_wherever_the_folder_lies(pets: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(pets.parent, copy)
    here, there, other = _source(pets), _source(copy / "pets.csv"), _source(pets, split_seed=1)
    tests = [[Path(path).name for path in _sources(s, "test")] for s in (here, there, other)]
    assert tests[0] == tests[1] != tests[2]


def test_what_is_rare_stays_in_train(table: Table) -> None:
    lines = [f"{n}.png,{'red' if n == 7 else 'blue'}" for n in range(40)]
    for seed in range(20):
        source = _source(table("image,colour", *lines), split_seed=seed, test_share=0.5)
        assert source.facts.class_names == ("blue", "red")
        assert source.facts.split_sizes == {"train": 20, "test": 20}


def test_given_splits_missing_values_and_roots(table: Table, paint: Paint, tmp_path: Path) -> None:
    path = table(
        *("photo;part;tone;age;nobody", "a.png;train;dark;?;x", "b.png;train;dark;old;y"),
        *("c.png;train;-;young;x", "d.png;test;light;old;y", "e.png;validation;dark;?;x"),
        "f.png;train;light;young;y",
    )
    for name in "abcdef":
        paint(tmp_path / "photos" / f"{name}.png")
    source = _source(
        path,
        separator=";",
        image_column="photo",
        split_column="part",
        attributes=["tone", "age"],
        missing=["-", "?"],
        root=tmp_path / "photos",
    )
    assert source.facts.split_sizes == {"train": 4, "test": 1, "validation": 1}
    assert source.facts.class_names == ("dark", "light", "old", "young")
    train = source.split("train").labels.tolist()
    assert train == [[0, MISSING], [0, 2], [MISSING, 3], [1, 3]]
    assert source.split("validation").labels.tolist() == [[0, MISSING]]
    assert source.facts.notes == {
        "train_missing_tone": 1,
        "train_missing_age": 1,
        "validation_missing_age": 1,
    }
    everything = _source(
        path, separator=";", image_column="photo", split_column="part", root=tmp_path / "photos"
    )
    assert everything.facts.token_names == ("tone", "age", "nobody")


def test_columns_without_a_name_are_no_attributes(table: Table) -> None:
    lines = [f"{n},{n}.png,{n % 2}" for n in range(10)]
    assert _source(table(",image,odd", *lines)).facts.token_names == ("odd",)


def test_batches_and_prepared_images(pets: Path) -> None:
    source = _source(pets, channels=1)
    test = source.split("test")
    batch = test.batch([2, 0], None)
    assert batch.images.shape == (2, 1, 8, 8)
    assert batch.indices == (2, 0)
    assert torch.equal(prepare_image(Path(test.source(0)), source.facts), batch.images[1])
    assert test.picture(0).size == (20, 16)


def test_augmentation_is_counted(pets: Path) -> None:
    train = _source(pets).augmented(Augmentation.model_validate({"flip": 0.5})).split("train")
    three, one = train.batch([4, 9, 2], 3), train.batch([9], 3)
    assert torch.equal(three.images[1:2], one.images)
    assert not torch.equal(train.batch(range(18), 3).images, train.batch(range(18), None).images)


def test_building_opens_no_image(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened"))
    assert _source(pets).facts.split_sizes["train"] == 24


def test_files_are_verified_once(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _source(pets)
    source.split("train")
    monkeypatch.setattr("addkit.data.images.check_image", lambda path: pytest.fail("again"))
    source.split("train")


@pytest.fixture
def spoilt(pets: Path) -> list[Path]:
    """Three files of train: two gone, one broken."""
    chosen = [Path(path) for path in _sources(_source(pets), "train")[3:6]]
    chosen[0].unlink()
    chosen[1].unlink()
    chosen[2].write_bytes(b"")
    return chosen


def test_missing_and_broken_images_are_named(pets: Path, spoilt: list[Path], paint: Paint) -> None:
    with pytest.raises(DataError) as caught:
        _source(pets).split("train")
    first, *files, last = str(caught.value).splitlines()
    assert first == f"{pets}: 2 of 30 images are missing:"
    for text, path in zip(files, spoilt[:2], strict=True):
        assert text == f"  {pets}:{_line(pets, path)}: {path} is no file"
    assert "data.root" in last
    assert "data.bad_files" in last
    for path in spoilt[:2]:
        paint(path)
    text = rf"1 of 30 files cannot be used:\n  {spoilt[2]}: empty file"
    with pytest.raises(DataError, match=text):
        _source(pets).split("train")


def _line(file: Path, image: Path) -> int:
    cell = str(image.relative_to(file.parent))
    lines = file.read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(cell))


def test_missing_and_broken_images_can_be_skipped(pets: Path, spoilt: list[Path]) -> None:
    with pytest.warns(DataWarning) as caught:
        train = _source(pets, bad_files="skip").split("train")
    assert len(train) == len(train.labels) == 21
    messages = [str(warning.message) for warning in caught]
    for text, path in zip(messages, spoilt, strict=True):
        assert text.startswith("left out ")
        assert str(path) in text
    assert not set(map(str, spoilt)) & {train.source(index) for index in range(21)}
    assert train.batch(range(21), None).images.shape == (21, 3, 8, 8)


def test_a_long_list_is_cut(pets: Path) -> None:
    for image in sorted((pets.parent / "images").iterdir())[1:]:
        image.unlink()
    with pytest.raises(DataError, match=r"29 of 30 images are missing:(\n  .*){20}\n  and 9 m"):
        _source(pets)


@pytest.mark.parametrize("bad_files", ["stop", "skip"])
def test_a_table_whose_images_lie_elsewhere(pets: Path, bad_files: str) -> None:
    shutil.rmtree(pets.parent / "images")
    with pytest.raises(DataError, match=r"none of the 30 images exists:\n.*\nSet data\.root"):
        _source(pets, bad_files=bad_files)


def test_a_value_whose_images_are_all_bad(table: Table, paint: Paint, tmp_path: Path) -> None:
    path = table(
        *("image,tone,part", "a.png,dark,train", "b.png,light,train", "c.png,light,train"),
        *("d.png,dark,test",),
    )
    for name in "bcd":
        paint(tmp_path / f"{name}.png")
    (tmp_path / "a.png").unlink()
    source = _source(path, split_column="part", bad_files="skip")
    with (
        pytest.warns(DataWarning, match=r"left out .*pets\.csv:2: .*a\.png is no file"),
        pytest.raises(DataError, match='no readable training image with tone "dark"'),
    ):
        source.split("train")
