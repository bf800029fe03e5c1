from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from addkit.data.caption_folder import CaptionFolder
from addkit.data.settings import CaptionFolderConfig, DataWarning
from addkit.errors import DataError
from addkit.recipe.tables import Augmentation
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

Paint = Callable[..., Path]

CAPTIONS = {f"{kind}{i}.png": [f"a {kind}, {i}", f"{kind}"] for kind in "xy" for i in range(5)}


def _source(root: Path, **settings: object) -> CaptionFolder:
    config = CaptionFolderConfig.model_validate({"root": root, "image_size": 8, **settings})
    return CaptionFolder(config, Words(WordsConfig.model_validate({})))


def _sources(source: CaptionFolder, name: str) -> list[str]:
    split = source.split(name)
    return [split.source(index) for index in range(len(split))]


def _csv(*rows: str) -> str:
    return "\n".join(["image,caption", *rows, ""])


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    root = tmp_path / "photos"
    for name in CAPTIONS:
        paint(root / name)
    rows = [f'{name},"{text}"' for name, texts in CAPTIONS.items() for text in texts]
    (root / "captions.csv").write_text(_csv(*rows[::2], *rows[1::2]), "utf-8-sig")
    return root


def test_captions_of_an_image_stay_together(root: Path) -> None:
    source = _source(root, validation=0.25)
    assert source.facts.split_sizes == {"train": 6, "test": 2, "validation": 2}
    everything = [path for name in source.facts.split_sizes for path in _sources(source, name)]
    assert sorted(everything) == sorted(map(str, root.glob("*.png")))
    test = source.split("test")
    batch = test.batch([0, 1], None)
    assert batch.images.shape == (2, 3, 8, 8)
    for i, texts in enumerate(batch.texts or ()):
        wanted = CAPTIONS[Path(test.source(i)).name]
        assert texts == tuple(text.replace(",", "") for text in wanted)
    assert source.facts.files == (root / "captions.csv", root)
    assert (source.facts.num_tokens, source.facts.notes["train_captions"]) == (4, 12)


def test_the_split_is_the_same_wherever_the_folder_lies(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(root, copy)
    names = [[Path(path).name for path in _sources(_source(at), "test")] for at in (root, copy)]
    assert names[0] == names[1]
    other = [Path(path).name for path in _sources(_source(root, split_seed=2), "test")]
    assert names[0] != other


def test_three_file_formats_give_the_same_captions(root: Path) -> None:
    pairs = [(name, text) for name, texts in CAPTIONS.items() for text in texts]
    lines = [json.dumps({"file": name, "text": text}) for name, text in pairs]
    # A line separator inside a text does not end the line.
    (root / "c.jsonl").write_text("\n\n".join(lines) + "\n", "utf-8")
    coco = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(CAPTIONS)],
        "annotations": [
            {"image_id": i, "caption": text}
            for i, texts in enumerate(CAPTIONS.values())
            for text in texts
        ],
    }
    (root / "c.json").write_text(json.dumps(coco))
    lined = _source(root, captions="c.jsonl", image_column="file", caption_column="text")
    for other in (lined, _source(root, captions="c.json")):
        assert other.facts.class_names == _source(root).facts.class_names
        for name in ("train", "test"):
            assert _sources(other, name) == _sources(_source(root), name)
            assert other.split(name).labels.tolist() == _source(root).split(name).labels.tolist()


PAIRS = [(name, text) for name, texts in CAPTIONS.items() for text in texts]


def _coco_json() -> str:
    # The ids of one list are numbers, those of the other texts.
    images = [{"id": i, "file_name": name} for i, name in enumerate(CAPTIONS)]
    notes = [
        {"image_id": str(i), "caption": text}
        for i, texts in enumerate(CAPTIONS.values())
        for text in texts
    ]
    return json.dumps({"images": images, "annotations": notes})


def _rows(separator: str, image: str, caption: str) -> str:
    return "\n".join([f"{image}{separator}{caption}", *(f'{a}{separator}"{b}"' for a, b in PAIRS)])


def _lines(image: str, caption: str) -> str:
    return "\n".join(json.dumps({image: a, caption: b}, ensure_ascii=False) for a, b in PAIRS)


FILES = {
    "captions.csv": _rows(";", "image", "caption"),
    "captions.tsv": _rows("\t", "image", "caption"),
    "captions.jsonl": _lines("image", "caption"),
    "captions.json": _coco_json(),
    "metadata.jsonl": _lines("file_name", "text"),
    "metadata.csv": _rows(",", "file_name", "text"),
    **{f"{Path(name).stem}.txt": "\r\n".join(texts) for name, texts in CAPTIONS.items()},
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("file", [*list(FILES)[:6], "*.txt"])
def test_files_of_usual_names_give_the_same_captions(root: Path, file: str, encoding: str) -> None:
    expected = _source(root)
    (root / "captions.csv").unlink()
    for name in FILES if file == "*.txt" else [file]:
        if file != "*.txt" or name.endswith(".txt"):
            (root / name).write_text(FILES[name], encoding)
    source = _source(root)
    assert source.facts.class_names == expected.facts.class_names
    for name in ("train", "test"):
        assert sorted(_sources(source, name)) == sorted(_sources(expected, name))
    assert _source(root, captions=file).facts.notes == source.facts.notes


def test_two_files_of_usual_names(root: Path) -> None:
    (root / "captions.csv").rename(root / "captions.tsv")
    (root / "metadata.jsonl").touch()
    with pytest.raises(DataError, match=r"captions\.tsv and metadata\.jsonl.*data\.captions"):
        _source(root)


def test_texts_beside_some_images(root: Path) -> None:
    (root / "captions.csv").unlink()
    with pytest.raises(DataError, match=r"captions\.csv does not exist.*\n.*metadata\.jsonl"):
        _source(root)
    (root / "train").mkdir()
    (root / "train" / "metadata.csv").touch()
    with pytest.raises(DataError, match=r"There is .*train/metadata\.csv: set data\.root"):
        _source(root)
    (root / "captions.csv").mkdir()
    with pytest.raises(DataError, match=r"captions\.csv is no file"):
        _source(root)
    for name in ("x0", "x1", "y0"):
        (root / f"{name}.txt").write_text(f"a cat\n\n{name}\n")
    with pytest.warns(DataWarning, match=r"7 images have no NAME\.txt .* among them .*x2\.png"):
        source = _source(root)
    assert sum(source.facts.split_sizes.values()) == 3
    (root / "x2.txt").write_text(" \n")
    (root / "x3.txt").write_text("a cat\na dog\na cat\n")
    with (
        pytest.warns(DataWarning, match="5 images"),
        pytest.raises(
            DataError, match=r"x2\.txt:1: empty caption\n.*x3\.txt:3: the same image and"
        ),
    ):
        _source(root)


def test_line_separators_inside_a_text(root: Path) -> None:
    rows = [{"image": name, "caption": "one\u2028two"} for name in CAPTIONS]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (root / "c.jsonl").write_text(lines, "utf-8")
    assert _source(root, captions="c.jsonl").facts.num_tokens == 3


def test_images_in_a_folder_of_their_own(root: Path) -> None:
    (root / "images").mkdir()
    for path in root.glob("*.png"):
        path.rename(root / "images" / path.name)
    source = _source(root, images="images")
    assert _sources(source, "test")[0].startswith(str(root / "images"))


def test_one_image_named_in_two_ways_is_one(root: Path) -> None:
    text = (root / "captions.csv").read_text("utf-8-sig")
    (root / "captions.csv").write_text(text + "./x0.png,once more\n")
    facts = _source(root).facts
    assert sum(facts.split_sizes.values()) == 10


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["x0.png,a", "x1.png,", ",b"], r"2 of 3 lines.*\n  .*csv:3: empty caption\n  .*:4: no im"),
        (["x0.png,a", "x1.png,a", "./x0.png,a"], r"csv:4: the same image and caption as .*csv:2"),
        (["x0.png,a cat, a dog"], r"csv:2: 3 cells, and 2 columns"),
        ([], r"captions\.csv: no caption\. Write a line for each caption\."),
        (["x0.png,a"], "one image leaves none to test with"),
    ],
)
def test_rows_that_cannot_be_used(root: Path, rows: list[str], text: str) -> None:
    (root / "captions.csv").write_text(_csv(*rows))
    with pytest.raises(DataError, match=text):
        _source(root)


def test_twenty_bad_lines_are_shown(root: Path) -> None:
    (root / "captions.csv").write_text(_csv(*["x0.png,"] * 30))
    with pytest.raises(DataError, match=r"csv:21: empty caption\n  and 10 more\nMend"):
        _source(root)


def test_columns_that_are_not_there(root: Path) -> None:
    with pytest.raises(DataError, match=r'no column "captoin" \(did you mean "caption"\?\)'):
        _source(root, caption_column="captoin")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"image": "x0.png"', r"c\.jsonl:2: no JSON \(.*Write one object a line"),
        ("[1]", r'c\.jsonl:2: no object\. Write lines like \{"image": "\.\.\."\}'),
        (
            '{"image": "x0.png", "Caption": "a"}',
            r'c\.jsonl:2: no key "caption" \(did you mean "Caption"\?\); there are: image, Caption'
            r"\.\nRename a key or set data\.caption_column",
        ),
        (
            '{"image": "x0.png", "image": "x1.png", "caption": "a"}',
            r'c\.jsonl:2: .*"image" occurs tw',
        ),
        ('{"image": "x0.png", "caption": "\\ud83d"}', r"c\.jsonl:2: .*; a text is needed"),
        ('{"image": "x0\\u0000/a.png", "caption": "a"}', r"c\.jsonl:2: .* is no file"),
        ('{"image": "x0.png", "caption": 3}', r'c\.jsonl:2: "caption" is 3; a text is needed'),
        ('{"image": "x0.png", "caption": " "}', r"c\.jsonl:2: empty caption"),
    ],
)
def test_lines_that_cannot_be_used(root: Path, line: str, text: str) -> None:
    (root / "c.jsonl").write_text('{"image": "x0.png", "caption": "a"}\n' + line)
    with pytest.raises(DataError, match=text):
        _source(root, captions="c.jsonl")


def test_files_that_cannot_be_used(root: Path) -> None:
    with pytest.raises(
        DataError, match=r'c\.txt ends in "\.txt"; allowed: \.csv, \.tsv, \.jsonl, \.json'
    ):
        _source(root, captions="c.txt")
    with pytest.raises(DataError, match=r'caption\.csv does not exist \(did you mean "captions'):
        _source(root, captions="caption.csv")
    (root / "c.jsonl").write_bytes(b'{"image": "x0.png", "caption": "caf\xe9"}')
    with pytest.raises(DataError, match=r"c\.jsonl:1: no UTF-8 text \(byte 35 .*Save it as UTF-8"):
        _source(root, captions="c.jsonl")


def test_empty_captions_of_a_coco_file(root: Path) -> None:
    notes = [{"image_id": 1, "caption": " "}]
    content = {"images": [{"id": 1, "file_name": "x0.png"}], "annotations": notes}
    (root / "c.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"c\.json: x0\.png: empty caption\nMend or remove"):
        _source(root, captions="c.json")


def test_missing_folders(root: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: .*photoz does not exist\. Did you mean"):
        _source(root.with_name("photoz"))
    with pytest.raises(DataError, match=r"data\.images: .*pictures does not exist"):
        _source(root, images="pictures")


def test_missing_images_are_named_at_once(root: Path) -> None:
    for name in ("y3.png", "x1.png"):
        (root / name).unlink()
    with pytest.raises(DataError) as caught:
        _source(root)
    first, *lines, advice = str(caught.value).splitlines()
    table = root / "captions.csv"
    assert first == f"{table}: 2 of 10 images are missing:"
    # By their lines in the table; no image of another number is guessed.
    for line, (number, name) in zip(lines, [(3, "x1.png"), (10, "y3.png")], strict=True):
        assert line.startswith(f"  {table}:{number}: {root / name} is no file")
    assert "data.images" in advice
    assert "data.bad_files" in advice


@pytest.mark.parametrize("bad_files", ["stop", "skip"])
def test_images_that_lie_elsewhere(root: Path, bad_files: str) -> None:
    for image in root.glob("*.png"):
        image.unlink()
    with pytest.raises(
        DataError, match=r"none of the 10 images exists:\n.*csv:2: .*\nSet data\.images"
    ):
        _source(root, bad_files=bad_files)


def test_bad_files_can_be_skipped(root: Path) -> None:
    train = _sources(_source(root), "train")
    Path(train[0]).unlink()
    Path(train[2]).write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 10 images are missing"):
        _source(root)
    source = _source(root, bad_files="skip")
    with pytest.warns(DataWarning) as caught:
        split = source.split("train")
    assert len(caught) == 2
    assert [split.source(i) for i in range(len(split))] == [train[1], *train[3:]]
    texts = split.batch([0], None).texts
    assert texts is not None
    assert texts[0][1] == Path(train[1]).name[0]
    # Once is enough, also for a copy with other augmentation.
    source.augmented(Augmentation.model_validate({"flip": 0.5})).split("train")


def test_broken_images_stop(root: Path) -> None:
    (root / "x0.png").write_bytes(b"no image")
    source = _source(root)
    with pytest.raises(
        DataError, match=r"files cannot be used:\n  .*x0\.png: no image in a format"
    ):
        for name in ("train", "test"):
            source.split(name)


def test_no_image_left(root: Path) -> None:
    for path in root.glob("*.png"):
        path.write_bytes(b"")
    with (
        pytest.warns(DataWarning, match="empty file"),
        pytest.raises(DataError, match=r"no image of test can be read\. Add images\."),
    ):
        _source(root, bad_files="skip").split("test")
