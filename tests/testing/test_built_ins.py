"""Every built-in keeps every law of its kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from addkit.plugin import KINDS, load_registry
from addkit.plugin.spec import Spec
from addkit.testing import check, laws_of
from addkit.testing.checks import LAWS
from addkit.testing.small_problem import example_of

REGISTRY = load_registry()
BUILT_INS = [key for key, one in REGISTRY.components.items() if one.distribution == "addkit"]
ELSEWHERE = {
    *(("data", name) for name in ("fashion-mnist", "imagenet", "outfits", "linked-outfits")),
    ("tokenizer", "tokenizers-file"),
    *(("tracker", name) for name in ("tensorboard", "wandb", "mlflow")),
}
"""Data and packages that may be missing: what needs none of them is tried."""


@pytest.fixture
def files(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Settings of the components that have no default file or folder."""
    names = [f"{animal}/{number}.png" for animal in ("cats", "dogs") for number in range(6)]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 16), (20 * number, 90, 200 - 10 * number)).save(tmp_path / name)
    lines = [f"{name},a {name[:3]} here,{name[:4]},{name[5]}" for name in names]
    captions, table = tmp_path / "captions.csv", tmp_path / "table.csv"
    captions.write_text("\n".join(["image,caption", *(",".join(x.split(",")[:2]) for x in lines)]))
    table.write_text("\n".join(["image,animal,number", *(f"{n},{n[:4]},{n[5]}" for n in names)]))
    tags = tmp_path / "tags.csv"
    tags.write_text(
        "\n".join(["image,tags", *(f"{n},{n[:4]};{'even' * (i % 2)}" for i, n in enumerate(names))])
    )
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    said = [{"image_id": number, "caption": f"a {name[:3]}"} for number, name in enumerate(names)]
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": images, "annotations": said}), "utf-8")
    kinds = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    shown = [{"image_id": n, "category_id": n % 2} for n in range(len(names))]
    instances = tmp_path / "instances.json"
    instances.write_text(
        json.dumps({"images": images, "annotations": shown, "categories": kinds}), "utf-8"
    )
    size = {"image_size": 16}
    words = tmp_path_factory.mktemp("words")  # Not among the photos.
    # Trackers of servers write files.
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for variable in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{variable}", str(words / "wandb-home"))
    photos = {"train_images": str(tmp_path), "val_images": str(tmp_path)}
    return {
        ("data", "image-folder"): {"root": str(tmp_path), **size},
        ("data", "attribute-table"): {"file": str(table), **size},
        ("data", "tag-table"): {"file": str(tags), **size},
        ("data", "tag-folder"): {"root": str(tmp_path), **size},
        ("data", "coco-tags"): {
            "root": str(tmp_path),
            "train_instances": str(instances),
            "val_instances": str(instances),
            "validation": 0.2,
            **photos,
            **size,
        },
        ("data", "caption-folder"): {"root": str(tmp_path), **size},
        ("data", "coco-captions"): {
            "root": str(tmp_path),
            "train_captions": str(coco),
            "val_captions": str(coco),
            **photos,
            **size,
        },
        ("tokenizer", "tokenizers-file"): _tokenizers_file(words / "tokenizer.json"),
        ("tracker", "mlflow"): {"uri": (words / "mlflow").as_uri()},
    }


def _tokenizers_file(path: Path) -> Mapping[str, Any]:
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers
    except ImportError:
        return {}
    words = ("<pad>", "<unk>", "a", "red", "cat", "sits", "two", "dogs", "run", "home", "dog")
    model = models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))
    return {"file": str(path), "pad": "<pad>"}


@pytest.mark.parametrize(("kind", "name"), BUILT_INS, ids=lambda part: str(part))
def test_a_built_in_keeps_the_laws(
    kind: str, name: str, files: Mapping[tuple[str, str], Mapping[str, Any]]
) -> None:
    example = example_of(kind, name, "addkit")
    settings = {**example.settings, **files.get((kind, name), {})}
    verdict = check(
        kind, name, REGISTRY, settings=settings, facts=example.facts, levels=example.levels
    )
    assert verdict.broken == {}
    assert verdict.kept >= 2
    assert verdict.skipped == "" or (kind, name) in ELSEWHERE


def test_every_kind_has_laws() -> None:
    assert set(LAWS) == {one.kind for one in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_law_is_a_sentence(kind: type[Spec[Any, Any]]) -> None:
    laws = laws_of(kind.kind)
    assert len({law.__name__ for law in laws}) == len(laws)
    for law in laws:
        assert law.__doc__
        assert law.__doc__.splitlines()[0].endswith(".")
