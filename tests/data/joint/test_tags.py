from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from addkit.data.coco_tags import CocoTags
from addkit.data.emoji import emoji_list
from addkit.data.emoji_tags import EmojiTags, tags_of
from addkit.data.overview import overview
from addkit.data.settings import (
    CocoTagsConfig,
    EmojiTagsConfig,
    TagFolderConfig,
    TagTableConfig,
)
from addkit.data.tag_folder import TagFolder
from addkit.data.tag_table import TagTable
from addkit.errors import DataError

Table = Callable[..., Path]
Paint = Callable[..., Path]

SPLITS = ("train", "train", "train", "train", "test", "test")
CELLS = ("dog; grass", "dog", "", "ball;dog;grass", "grass", "")
GOOD = [f"{n}.png,{c},{s}" for n, (c, s) in enumerate(zip(CELLS, SPLITS, strict=True))]


def _table(file: Path, **settings: object) -> TagTable:
    settings = {"split_column": "part", "validation": 0, "image_size": 8, **settings}
    return TagTable(TagTableConfig.model_validate({"file": file, **settings}))


@pytest.fixture
def good(table: Table, paint: Paint) -> Path:
    path = table("image,tags,part", *GOOD)
    for number in range(len(GOOD)):
        paint(path.parent / f"{number}.png")
    return path


def test_cells_are_sets_of_tags_the_most_frequent_first(good: Path) -> None:
    source = _table(good)
    facts = source.facts
    assert facts.token_names == ("dog", "grass", "ball")
    assert facts.token_classes == ((0, 2),) * 3
    assert facts.tag_shares == (0.75, 0.5, 0.25)
    assert source.split("train").labels.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert source.split("test").labels.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert set(facts.combinations) == {(1, 1, 0), (1, 0, 0), (0, 0, 0), (1, 1, 1)}


def test_tags_can_be_chosen_and_rare_ones_left_out(good: Path) -> None:
    assert _table(good, least_images=2).facts.token_names == ("dog", "grass")
    chosen = _table(good, tags=["ball", "dog"])
    assert chosen.facts.token_names == ("ball", "dog")
    assert chosen.split("test").labels.tolist() == [[0, 0], [0, 0]]


def test_the_overview_counts_each_tag(good: Path) -> None:
    seen = overview(_table(good))
    assert seen.counts == {"tag": {"dog": 3, "grass": 2, "ball": 1}}
    assert any('"ball" (1)' in doubt for doubt in seen.doubts)


def test_shares_are_held_out_and_each_tag_stays_in_train(table: Table) -> None:
    path = table("image,tags", *(f"{n}.png,{'rare;' if n == 3 else ''}dog" for n in range(20)))
    for seed in range(5):
        facts = _table(path, split_column="", split_seed=seed, validation=0.25).facts
        assert facts.split_sizes == {"train": 12, "test": 4, "validation": 4}
        assert set(facts.token_names) == {"dog", "rare"}


def _refused(file: Path, *parts: str, **settings: object) -> None:
    with pytest.raises(DataError) as caught:
        _table(file, **settings)
    for part in parts:
        assert part in str(caught.value)


def test_bad_tables_are_refused_by_line(table: Table) -> None:
    _refused(
        table("image,tags,part", "a.png,dog|cat,train", "b.png,dog,test"),
        *("pets.csv:2", '"dog|cat"', 'data.tag_separator = "|"'),
    )
    path = table("image,tags,part", "a.png,dog;cat;dog,train", "b.png,dog,test")
    _refused(path, 'pets.csv:2: "dog"')
    path = table("image,tags,part", "a.png,dog,train", "b.png,dgo,test")
    _refused(path, "pets.csv:3", '"dgo"', 'did you mean "dog"', "data.tags")
    _table(path, tags=["dog"])
    _refused(path, '"cow"', "data.tags", tags=["cow"])
    _refused(path, "data.least_images", least_images=9)
    _refused(table("image,tags,part", "a.png,,train", "b.png,,test"), "data.tag_column")
    path = table("image,tags,part", "a.png,dog,train", "./a.png,cat,test")
    _refused(path, "pets.csv:3", "pets.csv:2")
    _refused(path, "tag_column", "tgs", tag_column="tgs")


def _folder(root: Path, **settings: object) -> TagFolder:
    settings = {"validation": 0, "image_size": 8, **settings}
    return TagFolder(TagFolderConfig.model_validate({"root": root, **settings}))


def test_equal_files_in_several_folders_are_one_image(tmp_path: Path, paint: Paint) -> None:
    for number in range(6):
        paint(tmp_path / "dog" / f"{number}.png")
    (tmp_path / "grass").mkdir()
    shutil.copy(tmp_path / "dog" / "2.png", tmp_path / "grass" / "other name.png")
    paint(tmp_path / "grass" / "9.png")
    source = _folder(tmp_path, test_share=0.3)
    assert source.facts.token_names == ("dog", "grass")
    assert sum(source.facts.split_sizes.values()) == 7
    rows = {
        Path(split.source(index)).name: split.labels[index].tolist()
        for split in (source.split("train"), source.split("test"))
        for index in range(len(split))
    }
    assert rows["2.png"] == [1, 1]
    assert rows["9.png"] == [0, 1]
    assert "other name.png" not in rows


def _coco(folder: Path, paint: Paint) -> None:
    for part, tags in (("train", ["cat", "dog", ""]), ("val", ["dog"])):
        images = [{"id": n, "file_name": f"{part}{n}.jpg"} for n in range(len(tags))]
        for image in images:
            paint(folder / f"{part}2014" / str(image["file_name"]))
        content = {
            "images": images,
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
            "annotations": [
                {"image_id": n, "category_id": {"dog": 7, "cat": 3}[tag], "bbox": [0, 0, 1, 1]}
                for n, tag in enumerate(tags)
                for _ in range(2)
                if tag
            ],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{part}2014.json").write_text(json.dumps(content))


def test_cocos_instances(tmp_path: Path, paint: Paint) -> None:
    _coco(tmp_path, paint)
    config = CocoTagsConfig.model_validate({"root": tmp_path, "validation": 0, "image_size": 8})
    source = CocoTags(config)
    assert source.facts.token_names == ("cat", "dog")
    assert source.split("train").labels.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert source.split("test").labels.tolist() == [[0, 1]]
    assert source.split("test").source(0) == str(tmp_path / "val2014" / "val0.jpg")
    file = tmp_path / "annotations" / "instances_val2014.json"
    file.write_text(file.read_text().replace('"category_id": 7', '"category_id": 8'))
    with pytest.raises(DataError, match=r"annotations\.0\.category_id: 8"):
        CocoTags(config)
    file.write_text('{"images": [], "annotations": [{"caption": "x"}]}')
    with pytest.raises(DataError, match="instances_train2014"):
        CocoTags(config)
    file.unlink()
    facts = CocoTags(config).facts  # the published numbers
    assert (facts.num_tokens, facts.split_sizes["test"]) == (80, 40_504)
    with pytest.raises(DataError, match="annotations_trainval2014"):
        CocoTags(config).split("train")


def test_tags_of_emoji() -> None:
    named = {emoji.caption: tags_of(emoji) for emoji in emoji_list()}
    judge = named["woman judge medium-dark skin tone"]
    assert judge == {"woman", "judge", "medium-dark skin", "human"}
    assert named["red apple"] == {"red", "apple"}
    source = EmojiTags(EmojiTagsConfig.model_validate({"image_size": 16}))
    facts = source.facts
    assert facts.split_sizes == {"train": 1621, "test": 450, "validation": 180}
    assert facts.num_tokens == 32
    assert facts.token_names[:3] == ("human", "woman", "man")
    assert min(facts.tag_shares) * 1621 >= 24 - 1e-6
    assert source.split("test").labels.sum(1).double().mean() > 3
    assert source.split("train").labels.dtype == torch.int64


def test_a_tag_of_every_image_teaches_nothing(table: Table) -> None:
    path = table("image,tags", *(f"{n}.png,dog{';cat' if n % 2 else ''}" for n in range(10)))
    doubts = overview(_table(path, split_column="")).doubts
    assert any('tag "dog"' in doubt for doubt in doubts)
