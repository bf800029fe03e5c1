"""Proof that it captions: a fixed small run must reach its number on combinations it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from addkit.evaluation.batches import Evaluator, Setting
from addkit.model import build_data, load
from addkit.recipe import read_recipe
from addkit.runs import Run
from addkit.training.train import train

SHORT = (
    "training.epochs=18",
    "training.evaluate_every=18",
    "checkpoints.every=18",
    "control.heads=[]",
    "sampling.steps=1",
)


@pytest.mark.slow
def test_a_short_run_names_held_out_combinations(recipes: Path, tmp_path: Path) -> None:
    recipe = read_recipe(recipes / "emoji.toml", SHORT)
    run = Run.create(tmp_path / "run", recipe, build_data(recipe).facts)
    result = train(recipe, run, device="cpu")
    assert result.value >= 0.25

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
