"""`addkit sample --trace`: a picture of one label, a page of several. Nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.model import Predictor, build_data, build_network
from addkit.recipe import read_recipe
from addkit.report import trace

Cli = Callable[..., Any]

SMALL = (
    "data.image_size=16",
    "encoder.widths=[8, 16]",
    "denoiser.width=16",
    "denoiser.depth=1",
    "sampling.batch_size=2",
)


def _predictor(recipes: Path, name: str) -> Predictor:
    recipe = read_recipe(recipes / name, SMALL)
    facts = build_data(recipe).facts
    return Predictor(build_network(recipe, facts), recipe, facts)


@pytest.fixture(scope="module")
def captions(recipes: Path) -> Predictor:
    return _predictor(recipes, "emoji.toml")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the page was drawn from, call by call."""
    calls: list[dict[str, Any]] = []

    def draw(path, steps, pictures, names, class_names, pad, token_names, decode):
        calls.append({"steps": steps, "pictures": pictures, "names": names, "decode": decode})
        calls[-1] |= {"pad": pad, "token_names": token_names}

    monkeypatch.setattr(trace, "draw_caption_trace", draw)
    return calls


@pytest.fixture
def answer(addkit: Cli, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch):
    def call(predictor: Predictor, *words: str):
        Path("r").mkdir(exist_ok=True)
        monkeypatch.setattr("addkit.model.load", lambda path, weights: predictor)
        return addkit("sample", *digit_images, "--run", "r", "--json", "--steps", "3", *words)

    return call


def test_captions_become_a_page(answer, captions: Predictor, tmp_path: Path) -> None:
    done = answer(captions, "--trace", "t.html")
    assert (done.code, done.err) == (0, "trace: t.html (the first 2 images)\n")
    page = (tmp_path / "t.html").read_text("utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [image["name"] for image in data["images"]] == ["digit-0.png", "digit-1.png"]
    assert len(data["t"]) == 3
    assert len(data["images"][0]["steps"][0]) == captions.facts.num_tokens


def test_labels_that_the_user_gives_are_in_the_trace(answer, captions: Predictor, calls) -> None:
    done = answer(captions, "--trace", "t.html", "--template", "woman _ hair", "--chains", "4")
    assert done.code == 0
    facts = captions.facts
    woman, hair = (facts.class_names.index(word) for word in ("woman", "hair"))
    for step in calls[0]["steps"]:
        assert step.clean.ids.shape == (2, 1, facts.num_tokens)  # of four chains one is drawn
        first = step.clean.ids[0, 0]
        assert [int(first[0]), int(first[2])] == [woman, hair]
        assert (first[3:] == facts.pad).all()
        assert float(step.logits[0, 0, 0].softmax(-1)[woman]) == 1
    assert calls[0]["decode"]([woman, hair]) == "woman hair"
    assert (calls[0]["pad"], calls[0]["token_names"]) == (facts.pad, ())
    answer(captions, "--trace", "t.html")
    assert float(calls[1]["steps"][0].logits[0, 0, 0].softmax(-1).amax()) < 0.9


def test_attributes_keep_their_names(answer, recipes: Path, calls) -> None:
    predictor = _predictor(recipes, "attributes.toml")
    assert answer(predictor, "--trace", "t.html", "--given", "gender=woman").code == 0
    (call,) = calls
    assert call["token_names"] == predictor.facts.token_names
    assert (call["pad"], call["decode"]) == (None, None)
    token = predictor.facts.token_names.index("gender")
    ids = torch.stack([step.clean.ids[:, 0, token] for step in call["steps"]])
    assert {predictor.class_names[int(k)] for k in ids.unique()} == {"woman"}


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (".png", "words and attributes are traced in: .html"),
        (".SVG", "words and attributes are traced in: .html"),
        (".xyz", 'ending ".xyz"; known: .html'),
    ],
)
def test_no_picture_of_several_labels(answer, captions: Predictor, ending: str, error: str) -> None:
    done = answer(captions, "--trace", f"t{ending}")
    assert (done.code, done.out, done.err) == (2, "", f"error: --trace t{ending}: {error}\n")


def test_no_page_of_one_label(addkit: Cli, digits_run: Path, digit_images: list[Path]) -> None:
    done = addkit("sample", digit_images[0], "--run", digits_run, "--json", "--trace", "t.html")
    error = "single labels are traced in: .png, .svg, .pdf"
    assert (done.code, done.out, done.err) == (2, "", f"error: --trace t.html: {error}\n")
    assert set(trace.ENDINGS).isdisjoint(trace.PAGE_ENDINGS)
