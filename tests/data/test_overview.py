"""What people are shown of their data before a training."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.data import equal_files as module
from addkit.data.attribute_table import AttributeTable
from addkit.data.equal_files import equal_files
from addkit.data.image_folder import ImageFolder
from addkit.data.overview import Overview, check_data, overview
from addkit.data.settings import AttributeTableConfig, DataWarning, ImageFolderConfig

Paint = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path, paint: Paint) -> Callable[..., Path]:
    """A folder of so many different pictures of each class."""

    def make(counts: dict[str, int]) -> Path:
        for kind, count in counts.items():
            for number in range(count):
                paint(tmp_path / "in" / kind / f"{kind.replace('/', '-')}{number}.png", 4, 4)
        return tmp_path / "in"

    return make


def _folder(root: Path) -> Overview:
    return overview(ImageFolder(ImageFolderConfig.model_validate({"root": root, "image_size": 8})))


def test_counts_and_ends(made: Callable[..., Path]) -> None:
    root = made({"ant": 5, "bee": 9, "cat": 7})
    (root / "ant" / ".DS_Store").touch()
    (root / "ant" / "up").symlink_to("..")
    found = _folder(root)
    assert found.counts == {"": {"ant": 4, "bee": 7, "cat": 6}}
    assert found.doubts == ()
    (_, text), (_, left_out) = found.rows()
    assert text == "ant 4, bee 7, cat 6; smallest ant 4, largest bee 7"
    assert "ant/up" in left_out
    assert ".DS_Store" in left_out


def test_a_sample_of_many_names() -> None:
    counts = {f"class{number:03}": 10 + number for number in range(100)}
    ((_, text),) = Overview({"": counts}, "", ()).rows()
    assert "100 classes, such as class000 10, class019 29, " in text
    assert text.endswith("smallest class000 10, largest class099 109")


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        ({"Cat": 4, "cat": 4, "dog": 4}, ['"Cat" and "cat"']),
        ({"big cat": 4, "big_cat": 4}, ['"big cat" and "big_cat"']),
        ({"ﬁsh": 4, "fish": 4}, ['"fish" and "ﬁsh"']),
        ({"A-": 4, "A": 4, "-1": 4, "1": 4}, []),
        ({"dog": 2, "cat": 9, "bird": 4}, ['"dog" (1)']),
    ],
)
def test_doubtful_classes(
    made: Callable[..., Path], counts: dict[str, int], named: list[str]
) -> None:
    doubts = _folder(made(counts)).doubts
    assert len(doubts) == len(named)
    assert all(text in doubt for text, doubt in zip(named, doubts, strict=True))


def test_the_same_picture_twice(made: Callable[..., Path]) -> None:
    root = made({"train/cat": 4, "train/dog": 4, "test/cat": 3, "test/dog": 3})
    shutil.copy(root / "train/cat/train-cat0.png", root / "train/dog/copy.jpg")
    shutil.copy(root / "train/cat/train-cat1.png", root / "test/cat/copy.png")
    shutil.copy(root / "test/dog/test-dog0.png", root / "test/dog/copy.png")  # harmless
    source = ImageFolder(ImageFolderConfig.model_validate({"root": root, "image_size": 8}))
    with pytest.warns(DataWarning) as caught:
        labels, splits = check_data(source).doubts
    assert [str(warning.message) for warning in caught] == [labels, splits]
    for text in ("train-cat0.png (cat)", "copy.jpg (dog)"):
        assert text in labels
    for text in ("train-cat1.png (train)", "copy.png (test)"):
        assert text in splits


def test_files_that_are_not_read(made: Callable[..., Path]) -> None:
    root = made({"ant": 5, "bee": 5})
    (root / "ant" / "bare").write_bytes((root / "ant" / "ant0.png").read_bytes()[:60])
    (root / "ant" / "c.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (root / "bee" / "notes.txt").write_text("about the bees, and more of them")
    (doubt,) = _folder(root).doubts
    assert "ant/c.heic" in doubt
    assert "bee/notes.txt" in doubt
    assert "2 files" in doubt


def test_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [b"a" * 9000, b"a" * 8999 + b"b", b"b" + b"a" * 8999, b"a" * 9000, b"", b"c", b""]
    paths = [str(tmp_path / str(number)) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    assert equal_files([*paths, str(tmp_path / "none"), str(tmp_path)]).groups == ((0, 3), (4, 6))
    # Files of other sizes are not opened.
    monkeypatch.setattr(module, "_middle", lambda path: pytest.fail(path))
    assert equal_files(paths[3:6]).groups == ()
    unfinished = equal_files(paths, seconds=-1)
    assert (unfinished.groups, "7 files" in unfinished.unfinished) == ((), True)


def test_numbers_read_as_classes(tmp_path: Path, paint: Paint) -> None:
    lines = ["image,kind,weight,age,grade"]
    for number in range(48):
        paint(tmp_path / f"{number}.png", 4, 4)
        lines.append(f"{number}.png,{'xy'[number % 2]},{number % 3}.5,{number % 12},{number % 5}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    settings = {"file": tmp_path / "t.csv", "image_size": 8}
    found = overview(AttributeTable(AttributeTableConfig.model_validate(settings)))
    assert ["weight" in found.doubts[0], "age" in found.doubts[1]] == [True, True]
    assert len([doubt for doubt in found.doubts if "numbers" in doubt]) == 2
    assert list(found.counts) == ["kind", "weight", "age", "grade"]
    assert sum(found.counts["grade"].values()) == sum(found.counts["kind"].values())


def test_names_in_two_unicode_forms_are_one_class(made: Callable[..., Path]) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = made({f"train/{composed}": 4, "train/eau": 4, f"test/{decomposed}": 3, "test/eau": 3})
    config = ImageFolderConfig.model_validate({"root": root, "image_size": 8})
    facts = ImageFolder(config).facts
    assert facts.class_names == (composed, "eau")
    assert facts.split_sizes == {"train": 8, "test": 6}


def test_classes_one_level_too_high(made: Callable[..., Path]) -> None:
    root = made({"site1/cat": 3, "site1/dog": 3, "site2/cat": 3, "site2/dog": 3})
    (doubt,) = _folder(root).doubts
    assert "site1, site2" in doubt
    assert "cat, dog" in doubt
    (root / "site2" / "bird").mkdir()
    assert _folder(root).doubts == ()
