"""The paper's COCO recipe on a small folder laid out as COCO: unchanged but for paths and sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

SIZES = (
    "data.image_size=32",
    "data.max_tokens=12",
    "encoder.patch_size=8",
    "encoder.width=32",
    "encoder.depth=1",
    "encoder.heads=2",
    "conditioner.width=32",
    "denoiser.width=32",
    "denoiser.depth=1",
    "denoiser.heads=2",
    "training.epochs=2",
    "training.warmup_epochs=0",
    "training.batch_size=20",
    "training.precision=float32",
    "training.evaluate_every=1",
    "distributed.per_process_batch=20",
    "distributed.workers=0",
    "sampling.steps=3",
)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """60 + 20 emoji with two captions each, as COCO's files of 2014 lie."""
    from addkit.data.emoji import emoji_bitmaps, emoji_list

    root, number = tmp_path / "coco", 0
    for part, positions in (("train2014", range(60)), ("val2014", range(60, 80))):
        (root / part).mkdir(parents=True)
        images, annotations = [], []
        bitmaps = emoji_bitmaps(list(positions), _no_labels(len(positions)))
        for pixels, position in zip(bitmaps.values, positions, strict=True):
            name = f"COCO_{part}_{position:012d}.jpg"
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(root / part / name)
            images.append({"id": position, "file_name": name, "width": 64, "height": 64})
            for caption in (emoji_list()[position].caption, f"a {emoji_list()[position].caption}"):
                number += 1
                annotations.append({"id": number, "image_id": position, "caption": caption})
        (root / "annotations").mkdir(exist_ok=True)
        file = root / "annotations" / f"captions_{part}.json"
        file.write_text(json.dumps({"images": images, "annotations": annotations}))
    return root


def _no_labels(count: int):
    import torch

    return torch.zeros(count, 1, dtype=torch.long)


def test_the_papers_recipe_runs_on_a_small_coco(addkit, recipes: Path, coco: Path) -> None:
    words = [word for override in SIZES for word in ("--set", override)]
    ask = (recipes / "coco.toml", *words, "--set", f"data.root={coco}")
    sizes = addkit("train", *ask, "--dry-run", "--json").json
    assert sizes["splits"] == {"train": 60, "test": 20}
    assert sizes["notes"]["train_captions"] == 120
    told = addkit("train", *ask, "--run-dir", "run", "--json").json
    # A batch of 20 leaves an epoch 3 steps, and is lowered to 8.
    assert told["steps"] == 14
    assert told["scores"]["ema"]["count"] == 20
    scored = addkit("evaluate", "--run", "run", "--json").json
    truth = scored["table3"][0]
    # Two captions an image: people are scored against each other.
    assert truth["row"] == "ground truth"
    assert truth["bleu1"] > 0.5
    image = next((coco / "val2014").iterdir())
    (told,) = addkit("sample", "--run", "run", "--json", image).json
    assert told["captions"]
