"""The commands on captions and on attributes, with small runs that are trained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SMALL = (
    "data.image_size=16",
    "encoder.widths=[8, 16]",
    "denoiser.width=32",
    "denoiser.depth=1",
    "denoiser.heads=2",
    "training.epochs=1",
    "training.reuse=1",
    "checkpoints.every=1",
)


def _run(recipe: Path, path: Path, *overrides: str) -> Path:
    from addkit.model import build_data
    from addkit.recipe import read_recipe
    from addkit.runs import Run
    from addkit.training.train import train

    read = read_recipe(recipe, [*SMALL, *overrides])
    run = Run.create(path, read, build_data(read).facts)
    train(read, run, device="cpu")
    return path


@pytest.fixture(scope="module")
def captions(recipes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions") / "run"
    return _run(recipes / "emoji.toml", folder, 'control.heads=["masked", "autoregressive"]')


@pytest.fixture(scope="module")
def attributes(recipes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attributes") / "run"
    return _run(recipes / "attributes.toml", folder)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.new("RGBA", (40, 30), (200, 120, 60, 255)).save(path)
    return path


def test_train_tells_exact_match_side_inputs_its_control(
    addkit, recipes: Path, tmp_path: Path
) -> None:
    quick = (*SMALL, "sampling.steps=1", 'control.heads=["one-shot"]')
    words = [word for override in quick for word in ("--set", override)]
    told = addkit("train", recipes / "emoji.toml", *words, "--json").json
    assert {"run", "metric", "exact_match", "control_exact_match", "seconds"} <= set(told)
    assert told["metric"] == "exact_match"
    assert told["exact_match"] == told["scores"]["ema"]["exact_match"]


def test_the_manifest_counts_words_and_the_steps_that_were_chosen(captions: Path) -> None:
    from addkit.runs import Run

    manifest = Run(captions).manifest()
    assert manifest.data["train_captions"] == 1802
    assert manifest.data["train_captions_cut"] == 0
    assert str(manifest.chosen_steps) in manifest.chosen_from
    assert {"real_loss", "pad_loss"} <= set(Run(captions).metrics()[0])


def test_sample_tells_captions(addkit, captions: Path, picture: Path) -> None:
    (told,) = addkit("sample", "--run", captions, "--steps", 3, "--json", picture).json
    assert {"image", "captions", "steps", "sampler", "read_out"} <= set(told)
    assert told["steps"] == 3
    for caption in told["captions"]:
        assert set(caption) == {"text", "tokens", "score", "probability"}
        assert caption["text"] == " ".join(token["text"] for token in caption["tokens"])
        assert all(0 <= token["probability"] <= 1 for token in caption["tokens"])


def test_chains_are_ranked_by_consensus(addkit, captions: Path, picture: Path) -> None:
    ask = ("--run", captions, "--steps", 4, "--chains", 6, "--top", 6, "--json")
    (told,) = addkit("sample", *ask, picture).json
    scores = [caption["score"] for caption in told["captions"]]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)


SAMPLERS = ("renoise", "ddim", "ancestral", "gibbs", "refine", "maskgit", "left-to-right")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_template_holds_under_every_sampler(
    addkit, captions: Path, picture: Path, sampler: str
) -> None:
    ask = ("--run", captions, "--sampler", sampler, "--steps", 4, "--json")
    template = "woman _ dark skin _"
    (told,) = addkit("sample", *ask, "--template", template, picture).json
    words = told["captions"][0]["text"].split()
    assert len(words) == 5
    assert (words[0], words[2], words[3]) == ("woman", "dark", "skin")
    given = [told["captions"][0]["tokens"][place]["probability"] for place in (0, 2, 3)]
    assert given == pytest.approx([1, 1, 1], abs=1e-4)


@pytest.mark.parametrize("length", [1, 5, 12])
def test_a_length_is_kept(addkit, captions: Path, picture: Path, length: int) -> None:
    (told,) = addkit("sample", "--run", captions, "--length", length, "--json", picture).json
    assert len(told["captions"][0]["tokens"]) == length


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--length", "13"), "13 tokens wanted; this run writes from 1 to 12"),
        (("--template", "woman zebrafish"), 'the vocabulary has no word "zebrafish"'),
        (("--template", "_ " * 13), "13 tokens wanted; this run writes from 1 to 12"),
        (("--given", "tone=dark"), "a caption has no attribute tone"),
        (("--given", "tone"), "no attribute tone"),
        (("--template", "woman _", "--length", "2"), "give one of template and length"),
        (("--sampler", "beam"), 'the sampler "beam" cannot walk the process "gaussian"'),
    ],
)
def test_what_cannot_be_given(addkit, captions: Path, picture: Path, words: Any, text: str) -> None:
    said = addkit("sample", "--run", captions, *words, picture)
    assert said.code == 2
    assert text in said.err


def test_controls_can_be_sampled_too(addkit, captions: Path, picture: Path) -> None:
    control = captions / "controls" / "autoregressive"
    ask = ("--run", control, "--sampler", "beam", "--top", 3, "--json")
    (told,) = addkit("sample", *ask, picture).json
    scores = [caption["score"] for caption in told["captions"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    (told,) = addkit(
        "sample", "--run", control, "--template", "woman _ tone", "--json", picture
    ).json
    assert told["captions"][0]["tokens"][0]["text"] == "woman"


def test_evaluate_tells_text_scores_and_table_three(
    addkit, captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from addkit.evaluation import run
    from addkit.model import load

    copied, results = [], run.caption_results

    def caption_results(*words: Any) -> Any:
        copied.append(len(words[3]))
        return results(*words)

    monkeypatch.setattr(run, "caption_results", caption_results)
    told = addkit("evaluate", "--run", captions, "--steps", "5", "--json").json
    # Copies are captions of training pictures, whatever split is scored.
    assert copied == [load(captions).facts.split_sizes["train"]]
    assert [row["steps"] for row in told["results"]] == [1, 5]
    keys = {
        *("steps", "guidance", "to_one", "sampler", "read_out", "exact_match", "bleu4", "cider_d"),
        *("rouge_l", "meteor", "clip_cosine", "repeats", "length_accuracy", "count"),
    }
    assert all(keys <= set(row) for row in told["results"])
    assert [row["row"] for row in told["table3"]] == [
        "ground truth",
        "shuffled captions",
        "most frequent caption",
        "nearest copy",
        "ADD",
        "control, autoregressive",
        "control, masked",
    ]
    assert all({"row", "clip_cosine", "low", "high", "count"} <= set(row) for row in told["table3"])
    assert told["audit"]["steps"] == 20 or told["audit"]["steps"] > 1
    shown = addkit("evaluate", "--run", captions, "--no-audit")
    assert "no CLIP score; give a model with --clip MODEL:WEIGHTS" in shown.out


def test_without_wordnet_a_line_says_so(
    addkit, captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from addkit.metrics import captions as metrics
    from addkit.metrics.captions import scores

    for module in (metrics, scores):
        monkeypatch.setattr(module, "meteor_available", lambda: "WordNet is not here")
    said = addkit("evaluate", "--run", captions, "--no-audit", "--no-table3")
    assert "no METEOR: WordNet is not here" in said.out
    assert "METEOR" not in said.out.splitlines()[0]


def test_attributes_are_told_jointly(addkit, attributes: Path, picture: Path) -> None:
    (told,) = addkit("sample", "--run", attributes, "--json", picture).json
    (answer,) = told["answers"]
    assert set(answer) == {"values", "probability", "votes"}
    assert list(answer["values"]) == list(told["marginals"]) == ["group", "gender", "tone"]
    assert 0 < answer["probability"] <= 1
    assert sum(value["probability"] for value in told["marginals"]["tone"]) <= 1 + 1e-5
    shown = addkit("sample", "--run", attributes, picture)
    assert "joint" in shown.out


def test_known_attributes_are_given(addkit, attributes: Path, picture: Path) -> None:
    ask = ("--run", attributes, "--given", "tone=dark", "--given", "gender=woman", "--json")
    (told,) = addkit("sample", *ask, picture).json
    values = told["answers"][0]["values"]
    assert (values["tone"], values["gender"]) == ("dark", "woman")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--given", "tune=dark"), 'no attribute "tune" (did you mean "tone"?)'),
        (("--given", "tone=drak"), 'tone = "drak": no such value (did you mean "dark"?)'),
        (("--length", "2"), 'no attribute "length"'),
    ],
)
def test_attributes_that_do_not_exist(
    addkit, attributes: Path, picture: Path, words: Any, text: str
) -> None:
    said = addkit("sample", "--run", attributes, *words, picture)
    assert said.code == 2
    assert text in said.err


def test_attributes_are_scored_jointly(addkit, attributes: Path) -> None:
    told = addkit("evaluate", "--run", attributes, "--sampler", "refine,maskgit", "--json").json
    keys = {"exact_match", "consistency", "token_accuracy", "count"}
    assert all(keys <= set(row) for row in [*told["results"], *told["controls"]])
    assert told["table3"] is None


def test_a_clip_score_needs_captions(addkit, attributes: Path) -> None:
    said = addkit("evaluate", "--run", attributes, "--clip", "ViT-B-32:openai")
    assert said.code == 2
    assert "--clip scores captions, and this run has none" in said.err
