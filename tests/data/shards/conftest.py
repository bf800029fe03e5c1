"""Data sets in folders, and the same in shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addkit.data.attribute_table import AttributeTable
from addkit.data.caption_folder import CaptionFolder
from addkit.data.coco import CocoCaptions
from addkit.data.image_folder import ImageFolder
from addkit.data.imagenet import ImageNet
from addkit.data.settings import (
    AttributeTableConfig,
    CaptionFolderConfig,
    CocoCaptionsConfig,
    ImageFolderConfig,
    ImageNetConfig,
)
from addkit.data.shards.write import Written, write_shards
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words

Paint = Callable[..., Path]
Open = Callable[..., Any]
Write = Callable[..., Written]


@pytest.fixture
def open_data() -> Open:
    """Opens a data set by the name of its component."""

    def build(name: str, **settings: object) -> Any:
        words = Words(WordsConfig())
        settings = {"image_size": 8, **settings}
        match name:
            case "image-folder":
                return ImageFolder(ImageFolderConfig.model_validate(settings))
            case "imagenet":
                return ImageNet(ImageNetConfig.model_validate(settings))
            case "coco-captions":
                return CocoCaptions(CocoCaptionsConfig.model_validate(settings), words)
            case "caption-folder":
                return CaptionFolder(CaptionFolderConfig.model_validate(settings), words)
        return AttributeTable(AttributeTableConfig.model_validate(settings))

    return build


@pytest.fixture
def write() -> Write:
    """Writes shards of about two or three of the painted images."""

    def call(source: Any, out: Path, name: str = "image-folder", **settings: Any) -> Written:
        report = settings.pop("report", lambda shard, before: None)
        settings = {"seed": 0, "shard_size": 2000, "jobs": 2, **settings}
        return write_shards(source, name, out, report=report, **settings)

    return call


@pytest.fixture
def coco(tmp_path: Path, paint: Paint) -> Path:
    """Nine and three JPEGs with two captions each, in COCO's layout and in Karpathy's."""
    root = tmp_path / "coco"
    karpathy = []
    for folder, count in (("train2014", 9), ("val2014", 3)):
        names = [f"{folder}_{number}.jpg" for number in range(count)]
        texts = [[f"A {name[:5]} number {i}.", "More of it"] for i, name in enumerate(names)]
        for name in names:
            paint(root / folder / name)
        _write_coco(root / "annotations" / f"captions_{folder}.json", names, texts)
        splits = ["train"] * 9 if count == 9 else ["val", "test", "restval"]
        karpathy += [
            {
                "filepath": folder,
                "filename": name,
                "split": split,
                "sentences": [{"raw": text} for text in pair],
            }
            for name, pair, split in zip(names, texts, splits, strict=True)
        ]
    (root / "dataset_coco.json").write_text(json.dumps({"images": karpathy}))
    return root


def _write_coco(path: Path, names: list[str], texts: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    notes = [{"image_id": i, "caption": text} for i, pair in enumerate(texts) for text in pair]
    path.write_text(json.dumps({"images": images, "annotations": notes}))


@pytest.fixture
def captions(tmp_path: Path, paint: Paint) -> Path:
    """Ten pictures below pictures/, and captions.csv."""
    root = tmp_path / "captions"
    lines = ["image,caption"]
    for number in range(10):
        paint(root / "pictures" / f"{number}.png")
        lines += [f"{number}.png,a thing {number}", f"{number}.png,it"]
    (root / "captions.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def table(tmp_path: Path, paint: Paint) -> Path:
    """A table of twelve images with two attributes, one value missing."""
    root = tmp_path / "table"
    lines = ["image,size,tone"]
    for number in range(12):
        paint(root / "images" / f"{number}.png")
        tone = ("dark", "light", "")[number % 3 if number else 2]
        lines.append(f"images/{number}.png,{('big', 'small')[number % 2]},{tone}")
    (root / "things.csv").write_text("\n".join(lines) + "\n")
    return root / "things.csv"
