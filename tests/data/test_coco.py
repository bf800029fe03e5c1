from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from addkit.data.coco import CocoCaptions
from addkit.data.emoji import EmojiCaptions
from addkit.data.settings import CocoCaptionsConfig, EmojiConfig
from addkit.errors import DataError
from addkit.plugin.protocols import Tokenizer
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.subwords import OpenClip
from addkit.tokenizers.words import Words

Paint = Callable[..., Path]


def _words(**settings: object) -> Words:
    return Words(WordsConfig.model_validate(settings))


def _source(root: Path, tokenizer: Tokenizer | None = None, **settings: object) -> CocoCaptions:
    config = CocoCaptionsConfig.model_validate({"root": root, "image_size": 8, **settings})
    return CocoCaptions(config, tokenizer or _words())


def _write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def _coco(path: Path, captions: dict[str, list[str]]) -> None:
    """COCO's layout, annotations in an order of their own."""
    images = [{"id": i, "file_name": name, "height": 1} for i, name in enumerate(captions)]
    notes = [
        {"image_id": i, "id": 9, "caption": text}
        for i, texts in enumerate(captions.values())
        for text in texts
    ]
    notes.sort(key=lambda note: str(note["caption"]))
    _write(path, {"info": {}, "images": images, "annotations": notes})


TRAIN = {f"t{i}.jpg": [f"a cat {i}", "b cat"] for i in range(10)}
TEST = {"v0.jpg": ["a cat and a big dog"], "v1.jpg": ["b cat", "a", "a cat"]}


@pytest.fixture
def root(tmp_path: Path, paint: Paint) -> Path:
    _coco(tmp_path / "annotations" / "captions_train2014.json", TRAIN)
    _coco(tmp_path / "annotations" / "captions_val2014.json", TEST)
    for name in TRAIN:
        paint(tmp_path / "train2014" / name)
    for name in TEST:
        paint(tmp_path / "val2014" / name)
    return tmp_path


@pytest.fixture
def karpathy(root: Path) -> Path:
    splits = ("train", "restval", "val", "test")
    images = [
        {
            "filepath": "val2014" if split != "train" else "train2014",
            "filename": f"v{i}.jpg" if split != "train" else "t0.jpg",
            "split": split,
            "sentences": [{"raw": f"A {split}.", "tokens": ["a"]}, {"raw": "and more"}],
        }
        for i, split in enumerate(splits)
    ]
    _write(root / "dataset_coco.json", {"dataset": "coco", "images": images})
    for i in (2, 3):
        shutil.copy(root / "val2014" / "v1.jpg", root / "val2014" / f"v{i}.jpg")
    return root


def test_the_split_of_2014(root: Path) -> None:
    source = _source(root)
    facts = source.facts
    assert facts.split_sizes == {"train": 10, "test": 2}
    assert facts.class_names[:5] == ("<pad>", "<unk>", "cat", "a", "b")
    assert (facts.num_tokens, facts.pad, facts.unknown) == (20, 0, 1)
    assert facts.notes["test_unknown_words"] == 3
    test = source.split("test")
    assert [test.source(i) for i in (0, 1)] == [str(root / "val2014" / f"v{i}.jpg") for i in (0, 1)]
    batch = test.batch([1, 0], None)
    assert batch.images.shape == (2, 3, 8, 8)
    assert batch.texts == (("a", "a cat", "b cat"), ("a cat and a big dog",))
    assert batch.reference_counts is not None
    assert batch.reference_counts.tolist() == [3, 1]


def test_validation_is_held_out_by_image(root: Path, tmp_path: Path) -> None:
    source = _source(root, validation=0.2)
    assert source.facts.split_sizes == {"train": 8, "test": 2, "validation": 2}
    splits = [source.split(name) for name in ("train", "validation")]
    assert len({split.source(i) for split in splits for i in range(len(split))}) == 10
    assert splits[1].batch([0, 1], None).reference_counts.tolist() == [2, 2]


def test_karpathys_split(karpathy: Path) -> None:
    source = _source(karpathy, split="karpathy")
    assert source.facts.split_sizes == {"train": 2, "validation": 1, "test": 1}
    train = source.split("train")
    assert train.source(0) == str(karpathy / "train2014" / "t0.jpg")
    assert train.batch([0, 1], None).texts == (("a train", "and more"), ("a restval", "and more"))
    assert source.split("validation").batch([0], None).texts == (("a val", "and more"),)
    assert source.split("test").source(0) == str(karpathy / "val2014" / "v3.jpg")


def test_paths_can_be_chosen(root: Path) -> None:
    (root / "train2014").rename(root / "photos")
    (root / "annotations" / "captions_train2014.json").rename(root / "mine.json")
    source = _source(root, train_images=root / "photos", train_captions="mine.json")
    assert len(source.split("train")) == 10
    assert root / "photos" in source.facts.files


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, {"train": 82_783, "test": 40_504}),
        ({"validation": 0.1}, {"train": 74_505, "test": 40_504, "validation": 8_278}),
        ({"split": "karpathy"}, {"train": 113_287, "test": 5_000, "validation": 5_000}),
    ],
)
def test_a_plan_needs_no_data(
    tmp_path: Path, settings: dict[str, object], sizes: dict[str, int]
) -> None:
    facts = _source(tmp_path / "none", _words(max_size=10_112), **settings).facts
    assert facts.split_sizes == sizes
    assert (facts.num_classes, facts.class_names, facts.num_tokens) == (10_112, (), 20)
    assert (facts.pad, facts.unknown) == (0, 1)


def test_a_plan_with_subwords(tmp_path: Path) -> None:
    facts = _source(tmp_path, OpenClip()).facts
    assert facts.num_classes == len(facts.class_names) == 49_408
    assert facts.pad == 49_407


def test_a_plan_with_any_number_of_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"For a dry run without them set tokenizer\.max_size"):
        _source(tmp_path)


def test_missing_captions_are_named_when_a_split_is_opened(root: Path) -> None:
    (root / "annotations" / "captions_val2014.json").unlink()
    source = _source(root, _words(max_size=9))
    with pytest.raises(
        DataError, match=r"captions_val2014\.json missing\..*annotations_trainval2014\.zip"
    ):
        source.split("train")
    source = _source(root, _words(max_size=9), split="karpathy")
    with pytest.raises(DataError, match=r"dataset_coco\.json missing\..*caption_datasets\.zip"):
        source.split("test")


def test_missing_images_are_named_before_training(root: Path, paint: Paint) -> None:
    (root / "val2014" / "v1.jpg").unlink()
    source = _source(root)
    with pytest.raises(DataError) as caught:
        source.split("train")
    assert str(caught.value).splitlines() == [
        f"{root}: 1 of 12 images are missing:",
        f"  {root / 'val2014' / 'v1.jpg'}",
        "Unpack train2014.zip and val2014.zip of cocodataset.org there, or set data.train_images "
        "and data.val_images.",
    ]
    paint(root / "val2014" / "v1.jpg")
    (root / "train2014" / "t3.jpg").unlink()
    assert len(source.split("test")) == 2  # that is complete
    with pytest.raises(DataError, match=r"1 of 12 images"):
        source.split("train")


def test_a_missing_folder_is_named_once(root: Path) -> None:
    (root / "train2014").rename(root / "train2015")
    with pytest.raises(DataError, match=r"train2014 does not exist\. Did you mean .*train2015\?"):
        _source(root).split("train")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", r"captions_train2014\.json: not as it should be:\n  Invalid JSON: EOF.*line 1"),
        ({"images": []}, r"annotations: Field required\nGet the file again.*this form: \{\"images"),
        (
            {"images": [{"id": 1}], "annotations": [{"image_id": 1}]},
            r"images\.0\.file_name: Field required\n  annotations\.0\.caption: Field required",
        ),
        (
            {"images": [], "annotations": [{"image_id": "x", "caption": "a"}]},
            r"captions of images that the file does not list, with the ids\n  'x'\n",
        ),
        (
            {"images": [], "annotations": [{"image_id": 1, "bbox": [], "category_id": 1}] * 9},
            r"annotations\.0\.caption: Field required\n.*instances, not of captions",
        ),
        (
            {"images": [], "annotations": [{"image_id": 1, "bbox": [], "keypoints": [1]}]},
            "keypoints, not of captions",
        ),
        (
            {
                "images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}],
                "annotations": [],
            },
            r"ids that two images have\n  1: a and b\nGive",
        ),
        ({"images": [{"id": 1, "file_name": "a"}], "annotations": []}, "no image with a caption"),
    ],
)
def test_files_that_are_not_cocos(root: Path, content: Any, text: str) -> None:
    _write(root / "annotations" / "captions_train2014.json", content)
    with pytest.raises(DataError, match=text):
        _source(root)


def test_an_image_that_is_listed_twice_is_one(root: Path) -> None:
    _write(
        root / "annotations" / "captions_val2014.json",
        {
            "images": [
                {"id": "1", "file_name": "v0.jpg"},
                {"id": 2, "file_name": "v0.jpg"},
                {"id": 1, "file_name": "v0.jpg"},
            ],
            "annotations": [{"image_id": i, "caption": f"a cat {i}"} for i in (1, 2)],
        },
    )
    assert _source(root).split("test").batch([0], None).texts == (("a cat 1", "a cat 2"),)


def test_files_that_are_not_karpathys(karpathy: Path) -> None:
    file = karpathy / "dataset_coco.json"
    content = json.loads(file.read_text())
    content["images"][0]["split"] = "tain"
    _write(file, content)
    with pytest.raises(DataError, match=r"images\.0\.split: Input should be 'train', 'restval'"):
        _source(karpathy, split="karpathy")
    content["images"][0]["split"] = "test"
    _write(file, {"images": [*content["images"], content["images"][0]]})
    with pytest.raises(DataError, match=r"images\.4: .*t0\.jpg is listed twice"):
        _source(karpathy, split="karpathy")
    _write(file, {"images": content["images"][1:2]})
    with pytest.raises(DataError, match=r"no image of validation with a caption"):
        _source(karpathy, split="karpathy")


def test_a_caption_file_that_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"train2014\.json: cannot be read \(Permission denied\)"):
        _source(root)


def test_karpathy_has_its_own_validation() -> None:
    with pytest.raises(ValidationError, match=r"validation \(0\.1\) must be 0: Karpathy's split"):
        CocoCaptionsConfig.model_validate({"split": "karpathy", "validation": 0.1})


def test_the_emoji_laid_out_as_coco(tmp_path: Path) -> None:
    settings = {"forms": 3, "validation": 0.0}
    emoji = EmojiCaptions(EmojiConfig.model_validate(settings), _words())
    folders = {"train": "train2014", "test": "val2014"}
    for part, folder in folders.items():
        split = emoji.split(part)
        (tmp_path / folder).mkdir()
        names = [f"{i:04}.png" for i in range(len(split))]
        for i, name in enumerate(names):
            if part == "test":
                split.picture(i).save(tmp_path / folder / name)
            else:  # that it exists is enough
                (tmp_path / folder / name).touch()
        texts = split.batch(range(len(split)), None).texts
        captions = dict(zip(names, map(list, texts), strict=True))
        _write_in_order(tmp_path / "annotations" / f"captions_{folder}.json", captions)
    same = {"image_size": 64, "max_tokens": 12, "mean": emoji.facts.mean, "std": emoji.facts.std}
    coco = _source(tmp_path, **same)
    for key in ("num_classes", "class_names", "num_tokens", "pad", "split_sizes", "notes"):
        assert getattr(coco.facts, key) == getattr(emoji.facts, key)
    ours, theirs = coco.split("test"), emoji.split("test")
    assert torch.equal(ours.labels, theirs.labels)
    mine, other = (split.batch([3, 150, 3], None) for split in (ours, theirs))
    assert torch.equal(mine.images, other.images)
    assert mine.texts == other.texts
    assert torch.equal(mine.references, other.references)


def _write_in_order(path: Path, captions: dict[str, list[str]]) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(captions)]
    pairs = [(i, text) for i, texts in enumerate(captions.values()) for text in texts]
    notes = [{"image_id": i, "caption": text} for i, text in pairs]
    _write(path, {"images": images, "annotations": notes})
