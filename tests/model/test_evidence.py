"""Soft evidence through `predict` and `addkit sample`, with networks whose weights are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.errors import UsageError
from addkit.model import Predictor, build_data, build_network
from addkit.model.evidence import EvidenceRows
from addkit.plugin import Problem
from addkit.recipe import read_recipe
from addkit.tasks.evidence import soft_evidence
from addkit.training.control import control_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = (
    *("encoder.widths=[4, 4]", "denoiser.width=16", "denoiser.depth=1", "denoiser.heads=2"),
    "data.image_size=16",
)
PETS = Problem(
    num_classes=5,
    num_tokens=2,
    class_names=("big", "small", "dark", "light", "medium"),
    token_names=("size", "tone"),
    token_classes=((0, 2), (2, 5)),
)


def _predictor(head: str = "", *more: str) -> Predictor:
    recipe = read_recipe(RECIPES / "attributes.toml", [*SMALL, *more])
    facts = build_data(recipe).facts
    if head:
        recipe = control_recipe(recipe, head, facts)
    network = build_network(recipe, facts)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return Predictor(network, recipe, facts)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return _predictor()


@pytest.fixture(scope="module")
def images(predictor: Predictor) -> torch.Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_a_value_that_two_attributes_share_is_that_of_the_one_named() -> None:
    problem = replace(PETS, class_names=("none", "small", "dark", "light", "none"))
    likelihoods = soft_evidence(problem, {"tone": {"none": 0.8}})
    assert likelihoods[1, 2:].exp().tolist() == pytest.approx([0.1, 0.1, 0.8])


def test_probabilities_become_log_likelihoods() -> None:
    likelihoods = soft_evidence(PETS, {"tone": {"dark": 0.8}})
    assert likelihoods.shape == (2, 5)
    assert not likelihoods[0].any()
    torch.testing.assert_close(likelihoods[1, 2:].exp(), torch.tensor([0.8, 0.1, 0.1]))
    certain = soft_evidence(PETS, {"tone": {"dark": 0.8, "medium": 0.2}})
    torch.testing.assert_close(certain[1, 2:].exp(), torch.tensor([0.8, 0.0, 0.2]))
    assert bool(certain.isfinite().all())
    # Values that are all listed may sum to less: only their ratios count.
    part = soft_evidence(PETS, {"size": {"big": 0.6, "small": 0.2}})
    torch.testing.assert_close(part[0, :2].exp(), torch.tensor([0.6, 0.2]))


@pytest.mark.parametrize(
    ("evidence", "named"),
    [
        ({"tine": {"dark": 1}}, ("tine", "tone", "size")),
        ({"tone": {"darl": 1}}, ("darl", "dark", "medium")),
        ({"tone": {"big": 1}}, ("big", "tone")),
        ({"tone": {"dark": 1.2}}, ("1.2", "dark")),
        ({"tone": {"dark": -0.1}}, ("-0.1",)),
        ({"tone": {"dark": float("nan")}}, ("nan",)),
        ({"tone": {"dark": True}}, ("True",)),
        ({"tone": {"dark": "0.5"}}, ("'0.5'",)),
        ({"tone": {"dark": 0.8, "light": 0.3}}, ("tone", "1.1")),
        ({"size": {"big": 0, "small": 0}}, ("size",)),
        ({"tone": 0.5}, ("tone",)),
        (["tone"], ("evidence",)),
    ],
)
def test_evidence_that_is_none(evidence: Any, named: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as raised:
        soft_evidence(PETS, evidence)
    assert all(word in str(raised.value) for word in named)


def test_each_picture_has_its_own() -> None:
    dark, big = {"tone": {"dark": 0.8}}, {"size": {"big": 0.9}}
    rows = EvidenceRows(PETS, [dark, None, big, torch.ones(2, 5)])
    first = rows.take([True, True])
    assert torch.equal(first[0], soft_evidence(PETS, dark))
    assert not first[1].any()
    # A picture that cannot be read takes its row with it.
    assert torch.equal(rows.take([False, True]), torch.ones(1, 2, 5))
    with pytest.raises(UsageError):
        rows.take([True])
    assert EvidenceRows(PETS, dark).take([True, False, True]).shape == (2, 2, 5)
    assert torch.equal(
        EvidenceRows(PETS, torch.ones(3, 2, 5)).take([True] * 3), torch.ones(3, 2, 5)
    )


@pytest.mark.parametrize(
    "rows", [torch.zeros(3, 5), torch.full((2, 5), torch.inf), torch.zeros(2, 5).long(), 3]
)
def test_tensors_of_another_shape_or_type(rows: Any) -> None:
    with pytest.raises(UsageError, match="evidence"):
        EvidenceRows(PETS, rows).take([True])


def test_only_attributes_have_soft_evidence() -> None:
    with pytest.raises(UsageError, match="attributes"):
        EvidenceRows(Problem(num_classes=3, class_names=("a", "b", "c")), {"a": {"b": 0.5}})


@pytest.mark.parametrize(
    ("head", "sampler", "way"),
    [("", "leave-one-out", "state"), ("masked", "surest-beam", "bias"),
     ("autoregressive", "beam", "bias")],
)  # fmt: skip
def test_each_process_takes_it_in_by_its_own_way(
    head: str, sampler: str, way: str, images: torch.Tensor
) -> None:
    predictor = _predictor(head)
    plain = predictor.predict(images, top=40)
    answers = predictor.predict(images, evidence={"tone": {"dark": 0.97}}, top=40)
    for answer, before in zip(answers, plain, strict=True):
        settings = answer.settings()
        assert (settings["sampler"], settings["evidence"]) == (sampler, way)
        assert before.settings()["evidence"] is None
        assert answer.how_made(answer.steps) != before.how_made(before.steps)
        share, old = (
            {s.name: s.probability for s in each.marginals["tone"]}["dark"]
            for each in (answer, before)
        )
        assert share > old
        listed = [each.probability for each in answer.answers]
        assert all(p is not None and 0 < p <= 1 + 1e-6 for p in listed)
        assert listed == sorted(listed, reverse=True)


def test_the_answers_of_a_list_of_evidence_are_those_of_one_by_one(
    predictor: Predictor, images: torch.Tensor
) -> None:
    rows = [{"tone": {"dark": 0.9}}, None, {"gender": {"woman": 0.9}}]
    together = predictor.predict(images, evidence=rows)
    alone = [
        predictor.predict(x[None], evidence=[row])[0] for x, row in zip(images, rows, strict=True)
    ]
    assert [each.values for each in together] == [each.values for each in alone]


def test_a_sampler_can_be_asked_for(predictor: Predictor, images: torch.Tensor) -> None:
    asked = {"evidence": {"tone": {"dark": 0.9}}}
    (answer, *_) = predictor.predict(images, sampler="maskgit", **asked)
    assert (answer.inference.sampler, answer.inference.evidence) == ("maskgit", "bias")
    with pytest.raises(UsageError, match="leave-one-out"):
        predictor.predict(images, sampler="renoise", **asked)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("denoiser.time=true", "denoiser.time"),
        ("training.token_times=[1.0, 0.0, 1.0]", "training.token_times"),
        ("embedding.name=linear", "embedding"),
    ],
)
def test_a_network_that_was_not_trained_to_read_it(
    change: str, named: str, images: torch.Tensor
) -> None:
    predictor = _predictor("", change)
    with pytest.raises(UsageError) as raised:
        predictor.predict(images, evidence={"tone": {"dark": 0.9}})
    assert named in str(raised.value) and "maskgit" in str(raised.value)
    predictor.predict(images, evidence={"tone": {"dark": 0.9}}, sampler="maskgit")


def test_given_labels_stay(predictor: Predictor, images: torch.Tensor) -> None:
    answers = predictor.predict(
        images, evidence={"tone": {"dark": 0.9}, "gender": {"man": 0.99}}, given={"gender": "woman"}
    )
    assert {each.values["gender"] for each in answers} == {"woman"}


@pytest.fixture
def sample(addkit, digit_images: list[Path], monkeypatch: pytest.MonkeyPatch, predictor: Predictor):
    Path("r").mkdir(exist_ok=True)
    monkeypatch.setattr("addkit.model.load", lambda path, weights: predictor)
    return lambda *words: addkit("sample", *digit_images, "--run", "r", *words)


def test_the_command_line_takes_it(sample) -> None:
    words = ("--evidence", "tone=dark:0.8", "--evidence", "tone=medium:0.2", "--json")
    answers = sample(*words).json
    assert {each["evidence"] for each in answers} == {"state"}
    for answer in answers:
        shares = {s["name"]: s["probability"] for s in answer["marginals"]["tone"]}
        assert shares.get("light", 0.0) < 1e-6
    done = sample("--evidence", "tone=dark:0.8")
    assert done.code == 0
    assert "evidence" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--evidence", "tone"), "--evidence"),
        (("--evidence", "tone=dark"), "NAME=VALUE:P"),
        (("--evidence", "tone=dark:much"), "NAME=VALUE:P"),
        (("--evidence", "tone=:0.8"), "NAME=VALUE:P"),
        (("--evidence", ":0.8"), "NAME=VALUE:P"),
        (("--evidence", "tone:0.8"), "dark"),
        (("--evidence", "tine=dark:0.5"), "tone"),
        (("--evidence", "tone=dark:1.5"), "1.5"),
        (("--evidence", "tone=dark:0.5", "--trace", "t.html"), "--trace"),
    ],
)
def test_the_command_line_refuses(sample, words: tuple[str, ...], named: str) -> None:
    done = sample(*words)
    assert done.code == 2
    assert named in done.err


def test_votes_are_evidence(sample, digit_images: list[Path], tmp_path: Path) -> None:
    first, second = digit_images[:2]
    votes, rates = tmp_path / "votes.csv", tmp_path / "rates.csv"
    votes.write_text(f"image,annotator,tone\n{first},ann,dark\n{first},bob,dark\n")
    rates.write_text("annotator,accuracy\nann,0.9\nbob,0.9\n")
    plain = sample("--json").json
    done = sample("--votes", votes, "--annotators", rates, "--json", "--top", "9")
    shares = [
        {s["name"]: s["probability"] for s in each["marginals"]["tone"]}["dark"]
        for each in done.json
    ]
    assert [each["image"] for each in done.json] == [each["image"] for each in plain]
    assert shares[0] > 0.5 > shares[1]
    assert sample("--annotators", rates).code == 2
    votes.write_text(f"image,annotator,tone\n{second},ann,darl\n")
    wrong = sample("--votes", votes, "--annotators", rates)
    assert wrong.code == 1
    assert f"{votes}:2" in wrong.err
