"""Notebook views of predictions: the picture, labels with bars, and the steps of a chain."""

from __future__ import annotations

import base64
import gc
import io
import pickle
import re
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import addkit
from addkit import CaptionPrediction, JointPrediction, LabelScore, Prediction, Predictor
from addkit.data.shown import LONGER_SIDE, ShownPicture
from addkit.model.predictor import SHOWN
from addkit.tasks.predictions import Caption, JointAnswer, TracedStep

HOSTILE = '<script>alert("&")</script><img src=x onerror=y>'


@pytest.fixture(scope="module")
def predictor(digits_run: Path) -> Predictor:
    return addkit.load(digits_run)


def score(name: str, probability: float) -> LabelScore:
    return LabelScore(name, 0, probability, 0.5)


def caption(text: str) -> CaptionPrediction:
    return CaptionPrediction((Caption(text, (), 0.0, 0.25),), 3)


JOINT = JointPrediction(
    (JointAnswer({HOSTILE: HOSTILE, "tone": "dark"}, 0.125, 1.0),),
    {HOSTILE: (score(HOSTILE, 0.25),), "tone": (score("light", 0.75),)},
    3,
)
PREDICTIONS = {
    "label": Prediction((score(HOSTILE, 0.875), score("b", 0.125)), 1),
    "caption": caption(HOSTILE),
    "joint": JOINT,
}


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def sound(html: str) -> str:
    """The HTML, if it has no element of a text and nothing from outside."""
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "http" not in html
    for tag in ("div", "span", "table", "tr", "td"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>")
    return html


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_texts_are_escaped(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (400, 200)).save(tmp_path / "a.jpg")
    one = PREDICTIONS[kind]
    steps = tuple(TracedStep(t, one) for t in (1.0, 0.5))
    path = tmp_path / "a.jpg"
    for each in (one, replace(one, trace=steps, picture=ShownPicture(HOSTILE, path))):
        assert "&lt;script" in sound(each._repr_html_())
    assert f'width="{LONGER_SIDE}" height="{LONGER_SIDE // 2}"' in each._repr_html_()
    assert each == one
    assert pickle.loads(pickle.dumps(each)) == one


def test_equal_steps_of_captions_share_a_line() -> None:
    texts = ["a", "a", "a", "b", "a"]
    trace = tuple(TracedStep(1 - i / 5, caption(text)) for i, text in enumerate(texts))
    html = replace(caption("a"), trace=trace)._repr_html_()
    assert re.findall(r"steps? \d[^<]*", html) == ["steps 1 to 3", "step 4", "step 5"]


def test_a_trace_has_the_first_chains_steps(predictor: Predictor, digit_images: list[Path]) -> None:
    settings = {"steps": 4, "read_out": "last", "sampler": "gibbs", "top": 10}
    plain = predictor.predict(digit_images, **settings)
    traced = predictor.predict(digit_images, **settings, trace=True)
    assert traced == plain
    assert [each.trace for each in plain] == [(), (), ()]
    for each in traced:
        assert [step.t for step in each.trace] == pytest.approx([1.0, 0.75, 0.5, 0.25])
        assert each.trace[-1].prediction.labels == each.labels
        html = sound(each._repr_html_())
        reached = {
            score.name
            for step in each.trace
            for score in step.prediction.labels
            if score.probability >= 0.01
        }
        assert html.count("t = 0.75:") == min(len(reached), 6)
    # One pass is no chain; the chains that vote beside it are.
    assert predictor.predict(digit_images[0], trace=True, read_out="one-pass").trace == ()
    votes = predictor.predict(digit_images[0], trace=True, read_out="one-pass", steps=3)
    assert len(votes.trace) == 3
    early = predictor.predict(digit_images, **{**settings, "steps": 9}, early_exit=1, trace=True)
    assert [len(each.trace) for each in early] == [each.steps for each in early]


def test_pictures_are_those_that_were_given(
    predictor: Predictor, digit_images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    path_bytes = digit_images[0].read_bytes()
    path.write_bytes(path_bytes)
    one = predictor.predict(path)
    shown = one._repr_html_()
    assert shown.count("data:image/png;base64,") == 1
    assert "x.png" in shown
    path.unlink()
    assert "data:" not in one._repr_html_()
    levels = np.asarray(opened(digit_images[0].read_bytes()))
    tensor = torch.from_numpy(levels.copy())[None]
    for picture in (tensor, digit_images[0].read_bytes(), levels, opened(path_bytes)):
        for html in (shown, predictor.predict(picture)._repr_html_()):
            (data,) = re.findall(r'base64,([^"]*)', html)
            assert np.array_equal(opened(base64.b64decode(data)).convert("L"), levels)


def test_no_large_picture_is_kept(predictor: Predictor) -> None:
    made = []

    def pictures(count: int):
        for _ in range(count):
            image = Image.new("RGB", (300, 200))
            made.append(weakref.ref(image))
            yield image
            del image

    answers = list(predictor.predict(pictures(SHOWN + 3)))
    one = predictor.predict(next(pictures(1)))
    gc.collect()
    assert [ref() for ref in made] == [None] * (SHOWN + 4)
    assert sum(each.picture is not None for each in answers) == SHOWN
    for each in (*answers[:SHOWN], one):
        levels = each.picture.levels
        assert levels.untyped_storage().nbytes() == levels.numel() == 64
    assert "data:" not in answers[-1]._repr_html_()
