"""Tags from a table to an answer: thresholds are chosen, stored, loaded and used."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import addkit
from addkit import Run
from addkit.tasks.predictions import TagPrediction

TAGS = ("red", "dark")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain pictures: red or blue, dark or bright."""
    folder = tmp_path_factory.mktemp("photos")
    lines = ["image,tags"]
    for number in range(48):
        red, dark = number % 2, number // 2 % 2
        level = 100 if dark else 255
        colour = (level if red else 0, number, 0 if red else level)
        Image.new("RGB", (8, 8), colour).save(folder / f"{number}.png")
        own = [tag for tag, has in zip(TAGS, (red, dark), strict=True) if has]
        lines.append(f"{number}.png,{';'.join(own)}")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def test_from_a_table_to_an_answer(photos: Path, tmp_path: Path) -> None:
    changes = {
        "data": {
            "name": "tag-table",
            "file": str(photos / "photos.csv"),
            "image_size": 8,
            "validation": 0.2,
        },
        "encoder": {"widths": [4]},
        "denoiser": {"width": 8, "depth": 1, "heads": 1},
        "training": {"evaluate_every": 1, "batch_size": 4, "warmup_epochs": 0},
        "control": {"heads": ["asymmetric"]},
    }
    result = addkit.train("tags", changes, epochs=1, run_dir=tmp_path / "run")
    assert result.metric == "subset_accuracy"
    scores = result.scores["ema"]
    assert {"mean_ap", "macro_f1_tuned", "nll", "hamming"} <= {k for k, v in scores.items() if v}
    for run in (Run(tmp_path / "run"), Run(tmp_path / "run").control("asymmetric")):
        assert set(run.manifest().thresholds) == set(TAGS)
    model = result.load()
    (answer,) = model.predict([photos / "0.png"], given={"red": "", "no dark": ""})
    assert isinstance(answer, TagPrediction)
    assert answer.tags == ("red",)
    bare, named = (
        model.predict(photos / "0.png", evidence={"dark": {value: 0.9}}).scores
        for value in ("", "yes")
    )
    assert bare == named
    stored = Run(tmp_path / "run").manifest().thresholds
    assert {score.name: score.threshold for score in answer.scores} == stored
    assert addkit.evaluate(tmp_path / "run").results[-1].scores == scores
