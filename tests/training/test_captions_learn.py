"""Proof that it captions: a fixed small run must reach its number on combinations it never saw."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import build_data, load
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.training.train import train

SIZES = {"small": 2, "large": 4}
COLOURS = {
    "red": (220, 30, 30),
    "green": (20, 150, 40),
    "blue": (40, 60, 220),
    "yellow": (240, 210, 30),
    "black": (20, 20, 20),
}
SHAPES = ("square", "cross", "frame", "triangle")
SIDE = 16
SHORT = (
    *("data.name=coco-captions", f"data.image_size={SIDE}", "data.max_tokens=4"),
    *("encoder.widths=[16, 32]", "denoiser.width=32", "denoiser.depth=1", "denoiser.heads=2"),
    *("training.epochs=10", "training.warmup_epochs=1", "training.batch_size=32"),
    *("training.lr=8e-3", "training.ema=0.95", "training.reuse=2"),
    *("training.evaluate_every=10", "checkpoints.every=10"),
    *("control.heads=[]", "sampling.steps=1"),
)


def _paint(size: str, colour: str, shape: str, noise: np.random.Generator) -> Image.Image:
    """A shape somewhere on white."""
    reach = SIZES[size]
    y, x = np.mgrid[:SIDE, :SIDE] - noise.integers(reach, SIDE - reach, (2, 1, 1))
    distance = np.maximum(abs(x), abs(y))
    inside = {
        "square": distance <= reach,
        "cross": (distance <= reach) & (np.minimum(abs(x), abs(y)) == 0),
        "frame": distance == reach,
        "triangle": (distance <= reach) & (2 * abs(x) <= y + reach),
    }[shape]
    picture = np.where(inside[..., None], COLOURS[colour], 255)
    shades = noise.integers(-15, 16, picture.shape)
    return Image.fromarray((picture + shades).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured shapes laid out as COCO; a quarter of the combinations is in val2014 alone."""
    root, noise = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    (root / "annotations").mkdir()
    numbered = list(itertools.product(*map(enumerate, (SIZES, COLOURS, SHAPES))))
    combinations = [
        (sum(number for number, _ in each) % 4 == 0, tuple(word for _, word in each))
        for each in numbered
    ]
    for part, held_out, copies in (("train2014", False, 20), ("val2014", True, 10)):
        (root / part).mkdir()
        words = [words for held, words in combinations if held == held_out]
        # Neighbours differ in their combination.
        texts = {f"{i}.png": each for i, each in enumerate(words * copies)}
        for name, each in texts.items():
            _paint(*each, noise).save(root / part / name)
        table = {
            "images": [{"id": i, "file_name": name} for i, name in enumerate(texts)],
            "annotations": [
                {"image_id": i, "caption": " ".join(each)} for i, each in enumerate(texts.values())
            ],
        }
        (root / "annotations" / f"captions_{part}.json").write_text(json.dumps(table))
    return root


@pytest.mark.slow
def test_a_short_run_names_held_out_combinations(
    recipes: Path, tmp_path: Path, shapes: Path
) -> None:
    recipe = read_recipe(recipes / "emoji.toml", [*SHORT, f"data.root={shapes}"])
    run = Run.create(tmp_path / "run", recipe, build_data(recipe).facts)
    result = train(recipe, run, device="cpu")
    assert result.value >= 0.8

    predictor = load(run.path)
    images = build_data(recipe).split("test")
    evaluator = Evaluator.for_predictor(predictor, images, seed=0)
    meter = evaluator.score({"one step": Setting(predictor.inference)})["one step"]
    captions, references = meter.captions, meter.references
    # No test caption occurs in train, so neither a copy nor luck can score.
    train_images = build_data(recipe).split("train")
    known = {text for index in range(len(train_images)) for text in train_images.texts(index)}
    assert not known & {text for texts in references for text in texts}
    another = [*captions[1:], captions[0]]
    pairs = zip(another, references, strict=True)
    assert sum(caption in texts for caption, texts in pairs) / len(captions) <= 0.03
