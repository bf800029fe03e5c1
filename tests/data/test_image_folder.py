from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from addkit.data.image_folder import ImageFolder
from addkit.data.images import prepare_image
from addkit.data.settings import DataWarning, ImageFolderConfig
from addkit.errors import DataError
from addkit.recipe.tables import Augmentation

Paint = Callable[..., Path]


def _source(root: Path, **settings: object) -> ImageFolder:
    return ImageFolder(
        ImageFolderConfig.model_validate({"root": root, "image_size": 8, **settings})
    )


def _sources(source: ImageFolder, name: str) -> list[str]:
    split = source.split(name)
    return [split.source(index) for index in range(len(split))]


def test_a_folder_of_classes_is_split_by_share(pets: Path) -> None:
    source = _source(pets, validation=0.25)
    assert source.facts.class_names == ("cat", "dog")
    assert source.facts.split_sizes == {"train": 12, "test": 4, "validation": 4}
    everything = [path for name in source.facts.split_sizes for path in _sources(source, name)]
    assert sorted(everything) == sorted(map(str, pets.rglob("*.png")))
    assert source.split("test").labels.flatten().tolist() == [0, 0, 1, 1]
    assert source.facts.files == (pets,)


def test_the_split_is_the_same_wherever_the_folder_lies(pets: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(pets, copy)
    here, there = _source(pets), _source(copy)
    names = [[Path(path).name for path in _sources(source, "test")] for source in (here, there)]
    assert names[0] == names[1]
    assert names[0] != [Path(path).name for path in _sources(_source(pets, split_seed=1), "test")]


@pytest.mark.parametrize("held", ["test", "val"])
def test_given_splits_are_kept(tmp_path: Path, paint: Paint, held: str) -> None:
    for kind in ("a", "b"):
        paint(tmp_path / "train" / kind / "1.png")
        paint(tmp_path / "train" / kind / "2.png")
    paint(tmp_path / held / "b" / "3.png")
    source = _source(tmp_path)
    assert source.facts.split_sizes == {"train": 4, "test": 1}
    assert source.split("test").labels.tolist() == [[1]]
    assert source.facts.files == (tmp_path / "train", tmp_path / held)


def test_three_folders_are_three_splits(tmp_path: Path, paint: Paint) -> None:
    for part in ("train", "val", "test"):
        for kind in ("a", "b"):
            paint(tmp_path / part / kind / f"{part}.png")
    source = _source(tmp_path)
    assert source.facts.split_sizes == {"train": 2, "test": 2, "validation": 2}
    assert _sources(source, "validation")[0].endswith("val/a/val.png")
    # Before a share, which recipes set by default.
    assert _source(tmp_path, validation=0.1).facts.split_sizes == source.facts.split_sizes


def test_batches_prepared_images_and_channels(pets: Path) -> None:
    for channels in (1, 3):
        source = _source(pets, channels=channels)
        test = source.split("test")
        batch = test.batch([2, 0], None)
        assert batch.images.shape == (2, channels, 8, 8)
        assert batch.labels.tolist() == [[1], [0]]
        assert batch.indices == (2, 0)
        assert torch.equal(prepare_image(Path(test.source(0)), source.facts), batch.images[1])
        stream = io.BytesIO(Path(test.source(0)).read_bytes())
        assert torch.equal(prepare_image(stream, source.facts), batch.images[1])


def test_litter_is_ignored_and_nested_files_are_found(pets: Path, paint: Paint) -> None:
    (pets / "cat" / ".DS_Store").write_bytes(b"x")
    (pets / "dog" / "Thumbs.db").write_bytes(b"x")
    (pets / ".cache").mkdir()
    (pets / "README.txt").write_text("about")
    (pets / "cat" / ".hidden").mkdir()
    (pets / "cat" / ".hidden" / "no.txt").write_text("x")
    paint(pets / "cat" / "more" / "extra.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = _source(pets)
        assert len(source.split("train")) + len(source.split("test")) == 21


@pytest.fixture
def spoilt(pets: Path, paint: Paint) -> Path:
    """train/ with 6 bad files of 22, and a good test/."""
    root = pets.with_name("spoilt")
    root.mkdir()
    pets.rename(root / "train")
    for kind in ("cat", "dog"):
        for number in (0, 7):
            path = root / "train" / kind / f"{kind}{number}.png"
            path.write_bytes(path.read_bytes()[:400])
        (root / "train" / kind / "notes.txt").write_text("not an image")
        paint(root / "test" / kind / "good.png")
    return root


BAD = [f"{k}/{name}" for k in ("cat", "dog") for name in (f"{k}0.png", f"{k}7.png", "notes.txt")]


def test_all_bad_files_are_named_at_once(spoilt: Path) -> None:
    source = _source(spoilt)
    assert len(source.split("test")) == 2
    with pytest.raises(DataError) as caught:
        source.split("train")
    first, *files, last = str(caught.value).splitlines()
    assert first == f"{spoilt}: 6 of 24 files cannot be used:"
    for line, name in zip(files, BAD, strict=True):
        assert line.startswith(f"  {spoilt / 'train' / name}: "), line
    assert last == 'Repair or remove them, or set data.bad_files = "skip" to leave them out.'


def test_bad_files_of_all_splits_are_named_together(spoilt: Path) -> None:
    (spoilt / "test" / "cat" / "good.png").write_bytes(b"")
    for split in ("train", "test"):
        with pytest.raises(DataError, match="7 of 24 files cannot be used") as caught:
            _source(spoilt).split(split)
        assert "good.png: empty file" in str(caught.value)


def test_bad_files_can_be_skipped_with_a_warning_each(spoilt: Path) -> None:
    source = _source(spoilt, bad_files="skip")
    with pytest.warns(DataWarning) as caught:
        assert len(source.split("train")) == 16
    messages = [str(warning.message) for warning in caught]
    for text, name in zip(messages, BAD, strict=True):
        assert text.startswith(f"left out {spoilt / 'train' / name}: ")
    assert not any(Path(path).name == "notes.txt" for path in _sources(source, "train"))


def test_files_are_verified_once(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _source(pets)
    source.split("train")
    monkeypatch.setattr("addkit.data.images.check_image", lambda path: pytest.fail("again"))
    source.split("train")
    source.augmented(Augmentation.model_validate({"flip": 0.5})).split("train")


def test_a_class_of_bad_files_only(pets: Path) -> None:
    for path in (pets / "dog").iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(DataWarning, match="empty file"),
        pytest.raises(DataError, match="no readable training image in class dog"),
    ):
        _source(pets, bad_files="skip").split("train")


def test_a_file_that_breaks_later_is_named(pets: Path) -> None:
    train = _source(pets).split("train")
    Path(train.source(3)).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        train.batch([3], None)


def test_missing_root(pets: Path) -> None:
    with pytest.raises(DataError, match=r"petz does not exist\. Did you mean .*pets\?\nName"):
        _source(pets.with_name("petz"))
    with pytest.raises(
        DataError, match=r"does not exist, and neither does .*no\.\nName the folder"
    ):
        _source(pets.parent / "no" / "where")
    with pytest.raises(DataError, match=r"cat0.png is not a folder"):
        _source(pets / "cat" / "cat0.png")


def test_a_root_in_another_case_is_found(pets: Path) -> None:
    with pytest.raises(DataError, match=r"Did you mean .*pets\? It differs in case"):
        _source(pets.with_name("PETS"))
    (pets.parent / "in").mkdir()
    pets.rename(pets.parent / "in" / "pets")
    with pytest.raises(DataError, match=r"Did you mean .*in/pets\? It differs in case"):
        _source(pets.parent / "IN" / "pets")


def test_a_class_with_a_left_out_link_alone(pets: Path) -> None:
    (pets / "bird").mkdir()
    (pets / "bird" / "link").symlink_to("../cat")
    with pytest.raises(DataError, match=r"without a file: bird[^\0]*bird/link"):
        _source(pets)


def test_folders_without_classes(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2, and there is no sub-folder and 10 files"):
        _source(pets / "cat")
    shutil.rmtree(pets / "dog")
    with pytest.raises(DataError, match='at least 2, and there is only "cat"'):
        _source(pets)
    (pets / "dog").mkdir()
    with pytest.raises(DataError, match="class folders without a file: dog"):
        _source(pets)


def test_one_image_a_class_leaves_none_to_test_with(tmp_path: Path, paint: Paint) -> None:
    for kind in ("a", "b"):
        paint(tmp_path / kind / "1.png")
    source = _source(tmp_path, validation=0.1)
    assert dict(source.facts.split_sizes) == {"train": 2}
    assert len(source.split("train")) == 2
    test, validation = source.contents().doubts
    assert "test split" in test
    assert "validation split" in validation
    with pytest.raises(DataError, match="two images of some class"):
        source.split("test")


def test_train_without_test(tmp_path: Path, paint: Paint) -> None:
    for kind in ("a", "b"):
        paint(tmp_path / "train" / kind / "1.png")
    with pytest.raises(DataError, match="neither test/ nor val/"):
        _source(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "val"),
    [
        ("Train", "Test", "Val"),
        ("TRAIN", "test", "Validation"),
        ("training", "testing", "valid"),
        ("Training", "TESTING", "validation"),
    ],
)
def test_long_and_capital_names_of_splits(
    tmp_path: Path, paint: Paint, train: str, test: str, val: str
) -> None:
    for kind in ("a", "b"):
        for folder in (train, test, val):
            paint(tmp_path / folder / kind / "1.png")
    (tmp_path / "extra").mkdir()
    source = _source(tmp_path)
    assert source.facts.split_sizes == {"train": 2, "test": 2, "validation": 2}
    assert source.facts.files == (tmp_path / train, tmp_path / test, tmp_path / val)
    assert str(tmp_path / "extra") in source.store.ignored.line()
    shutil.rmtree(tmp_path / test)
    assert _source(tmp_path).facts.split_sizes == {"train": 2, "test": 2}


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("Train", "train", "test"), "Train and train"),
        (("test", "testing", "train"), "test and testing"),
        (("Test", "Val"), "no train/"),
        (("Train_Images", "Test_Images"), "Train_Images"),
        (("trainset", "testset"), "testset"),
        (("train2017", "val2017"), "train2017"),
        (("train", "test-set"), "neither test/ nor val/"),
        (("train_split", "other"), "train_split"),
        (("dev", "holdout"), "holdout"),
    ],
)
def test_folders_like_splits_are_no_classes(
    tmp_path: Path, paint: Paint, names: tuple[str, ...], named: str
) -> None:
    for name in names:
        for kind in ("a", "b"):
            paint(tmp_path / name / kind / "1.png")
    with pytest.raises(DataError, match=named) as caught:
        _source(tmp_path)
    assert "train/ and test/" in str(caught.value)


def test_a_class_may_be_called_train(pets: Path) -> None:
    (pets / "cat").rename(pets / "train")
    assert _source(pets).facts.class_names == ("dog", "train")


def test_classes_that_only_test_has(tmp_path: Path, paint: Paint) -> None:
    for kind in ("a", "b"):
        paint(tmp_path / "train" / kind / "1.png")
    paint(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(DataError, match="class folders that train does not have: c"):
        _source(tmp_path)


def test_building_opens_no_image(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened"))
    assert _source(pets).facts.split_sizes["train"] == 16
