"""Wrong arguments of the Python API: each is a UsageError or DataError that names the argument."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import addkit
from addkit import LossSpec, Predictor, Problem, Run, read_recipe
from addkit.errors import DataError, RunError, UsageError
from addkit.evaluation.run import EvaluationOptions, Grid, evaluate_run
from addkit.plugin.registry import Registry, load_registry
from addkit.recipe import recipe_from_tables


class Case(NamedTuple):
    call: Callable[[Any], Any]
    names: str
    """A part of the message."""


class Things(NamedTuple):
    """What the calls are given besides their wrong argument."""

    run: Path
    predictor: Predictor
    images: torch.Tensor
    folder: Path


@pytest.fixture(scope="module")
def things(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Things:
    folder = tmp_path_factory.mktemp("misuse")
    (folder / "text.png").write_text("no image")
    (folder / "empty.png").touch()
    Image.new("F", (8, 8)).save(folder / "float.tiff")
    return Things(digits_run, addkit.load(digits_run), torch.zeros(2, 1, 8, 8), folder)


def predict(argument: str, value: Any, names: str = "") -> Case:
    """`predict` of two right images with one wrong argument."""
    return Case(lambda o: o.predictor.predict(o.images, **{argument: value}), names or argument)


def images(make: Callable[[Things], Any], names: str = "images") -> Case:
    return Case(lambda o: o.predictor.predict(make(o)), names)


def misused(function: Callable[..., Any], *wrong: Any, names: str, **more: Any) -> list[Case]:
    """The function with each of these as its first argument."""
    return [Case(lambda o, value=value: function(value, **more), names) for value in wrong]


INF, NAN = float("inf"), float("nan")
NOT_COUNTS = (0, -1, 1.5, "5", "a", True, [1], {}, INF, NAN, 2**63, 10**11)
CASES = [
    # Numbers of inference: wrong types, out of range, unhashable, too large for any machine.
    *(predict("steps", value) for value in NOT_COUNTS),
    *(predict("chains", value) for value in (*NOT_COUNTS, 10_000)),
    *(predict("top", value) for value in NOT_COUNTS),
    *(predict("early_exit", value) for value in (-1, 0.5, "a", INF, [3])),
    *(predict("guidance", value) for value in (-1.0, INF, -INF, NAN, "2", "a", [1.0], 1e308)),
    *(predict("seed", value) for value in (-1, 1.5, "a", None, [0], 2**64, NAN, True)),
    # Components by name.
    *(predict("sampler", value) for value in (3, ["renoise"], True, b"renoise")),
    *(predict("to_one", value) for value in (3, ("argmax",))),
    *(predict("read_out", value) for value in (1.0, {})),
    predict("sampler", "renoize", 'did you mean "renoise"'),
    predict("to_one", "", "to_one"),
    predict("read_out", "lsat", "last"),
    # Given labels and side inputs of a run that has none.
    *(predict("given", value) for value in ("a", ["a"], 3, {"length": 3}, {3: 3})),
    predict("given", {"tone": "dark"}, "tone"),
    *(predict("side_inputs", value) for value in ("age", [1], 3)),
    predict("side_inputs", {"age": "3"}, "side inputs"),
    # Images of wrong types, shapes, values and files.
    *(
        images(lambda o, value=value: value)
        for value in (None, 3, 1.5, True, {}, {"a"}, {"a.png": 1}, b"abc", object())
    ),
    *(
        images(lambda o, value=value: [Image.new("L", (8, 8)), value], "images[1]")
        for value in (None, 3, b"abc", bytearray(), ["a.png"], iter(["a.png"]), "", {"a"})
    ),
    images(lambda o: list(iter(["none.png", None])), "images[1]"),
    images(lambda o: list(o.predictor.predict(iter([None]))), "images[0]"),
    images(lambda o: list(o.predictor.predict(iter(["none.png"]))), "none.png"),
    *(
        images(lambda o, value=value: value, str(value.dtype))
        for kind in (np.float32, np.float64, np.int64, np.uint16, np.bool_, np.complex64, object)
        for value in [np.zeros((8, 8, 3), kind)]
    ),
    *(
        images(lambda o, shape=shape: np.zeros(shape, np.uint8), str(shape))
        for shape in ((), (8,), (3, 8, 9), (8, 8, 2), (8, 8, 5), (0, 8), (8, 0, 3), (2, 2, 8, 8, 3))
    ),
    images(lambda o: np.zeros((3, 8, 9), np.uint8), ".transpose(1, 2, 0)"),
    images(lambda o: np.zeros((8, 9), np.float32), '.astype("uint8")'),
    images(lambda o: np.zeros((2, 8, 8, 2), np.uint8), "images[0]"),
    *(
        images(lambda o, shape=shape: torch.zeros(shape, dtype=torch.uint8), str(shape))
        for shape in ((8, 8), (2, 8, 8), (0, 8, 8), (8,), (), (2, 1, 1, 8, 8))
    ),
    images(lambda o: torch.zeros((8, 9, 3), dtype=torch.uint8), ".permute(2, 0, 1)"),
    images(lambda o: torch.zeros((3, 8, 8), dtype=torch.uint8, device="meta"), "meta"),
    images(lambda o: [Image.new("L", (8, 8)), Image.new("F", (8, 8))], "images[1]"),
    images(lambda o: [torch.zeros(1, 8, 8)], "images[0]"),
    images(lambda o: list(o.images), "images[0]"),
    *(
        images(lambda o, url=url: url, url)
        for url in ("ftp://example.org/a.png", "file:///etc/hostname", "s3://bucket/a.png")
    ),
    *(
        images(lambda o, shape=shape: torch.zeros(shape), "shape")
        for shape in ((8, 8), (1, 8, 8), (2, 3, 8, 8), (2, 1, 8, 9), (0,), (2, 1, 1, 8, 8))
    ),
    *(
        images(lambda o, kind=kind: o.images.to(kind), str(kind))
        for kind in (torch.int64, torch.bool, torch.float64, torch.complex64)
    ),
    images(lambda o: o.images.to("meta"), "meta"),
    images(lambda o: o.images.to_sparse(), "dense"),
    *(images(lambda o, value=value: o.images + value, "NaN or inf") for value in (NAN, INF, -INF)),
    *(
        images(lambda o, name=name: o.folder / name, name or "misuse")
        for name in ("none.png", "", "text.png", "empty.png", "float.tiff", "a\0b", "x" * 300)
    ),
    images(lambda o: ""),
    images(lambda o: "/dev/null", "/dev/null"),
    images(lambda o: io.StringIO("text"), ""),
    images(lambda o: io.BytesIO(b""), "empty"),
    Case(lambda o: o.predictor.pictures([]), "images"),
    Case(lambda o: o.predictor.trace([], o.predictor.inference), "images"),
    Case(lambda o: o.predictor.trace(o.images, None), "inference"),
    Case(lambda o: o.predictor.trace(o.images, o.predictor.inference, "a"), "seed"),
    # Loading and making a predictor.
    *misused(addkit.load, None, 3, b"runs", ["runs"], names="path"),
    *(Case(lambda o, w=w: addkit.load(o.run, weights=w), "weights") for w in ("emma", "", None, 1)),
    *(
        Case(lambda o, device=device: addkit.load(o.run, device=device), "device")
        for device in ("gpu", "cuda:99", "", None, 3, "meta", "tpu")
    ),
    Case(lambda o: Predictor(None, o.predictor.recipe, o.predictor.facts), "network"),
    Case(lambda o: Predictor(o.predictor.network, {}, o.predictor.facts), "recipe"),
    Case(lambda o: Predictor(o.predictor.network, o.predictor.recipe, None), "facts"),
    # Runs and recipes.
    *misused(Run, None, 3, ["x"], names="path"),
    *misused(Run.open, None, 3, b"x", names="path"),
    Case(lambda o: Run.create(o.folder / "r", None, o.predictor.facts), "recipe"),
    Case(lambda o: Run.create(o.folder / "r", o.predictor.recipe, {}), "facts"),
    *misused(read_recipe, None, 3, ["digits"], {}, names="path"),
    *(
        Case(lambda o, value=value: read_recipe(Path("digits"), value), "overrides")
        for value in ("seed=1", {3: 1}, 3, [3], [None])
    ),
    Case(lambda o: read_recipe(Path("digits"), ["sede=1"]), "seed"),
    Case(lambda o: read_recipe(Path("digits"), ["training.lr=1e308"]), "lr"),
    *misused(recipe_from_tables, None, 3, [], {3: 3}, names="tables", source=Path("x")),
    Case(lambda o: recipe_from_tables({}, None), "source"),
    # Training and evaluation.
    *(Case(lambda o, r=r: train(o, recipe=r), "recipe") for r in (None, {}, 3, b"digits")),
    Case(lambda o: train(o, recipe="digit"), 'did you mean "digits"'),
    Case(lambda o: train(o, recipe=o.run), "resume"),
    Case(lambda o: train(o, recipe=o.run, resume=True), "run_dir"),
    *(Case(lambda o, run=run: train(o, run_dir=run), "run_dir") for run in (3, ["x"], b"x")),
    *(
        Case(lambda o, c=c: train(o, callbacks=c), "callbacks")
        for c in (None, 3, [3], [print, 3], "ab", ["ab"])
    ),
    *(Case(lambda o, x=x: train(o, device=x), "device") for x in ("gpu", "cuda:99", 3)),
    *(Case(lambda o, x=x: train(o, progress=x), "progress") for x in ("yes", 1, [])),
    *(Case(lambda o, x=x: train(o, resume=x), "resume") for x in ("yes", None, 1)),
    Case(lambda o: train(o, resume=True, fresh=True), "fresh"),
    *(Case(lambda o, x=x: train(o, seed=x), "argument seed: ") for x in (-1, "3", 1.5, [1], True)),
    *(
        Case(lambda o, x=x: train(o, epochs=x), "argument epochs: ")
        for x in (0, "5", 1.5, None, [5], -3, np.float64(2.5), object())
    ),
    Case(lambda o: train(o, epoch=5), 'argument epoch: [training] unknown key "epoch"'),
    Case(lambda o: train(o, epoch=5), 'did you mean "epochs"'),
    *(
        Case(lambda o, x=x: train(o, overrides=x), "overrides")
        for x in ("training.lr=1", 3, None, [3], {3: 4}, {"loss": "ce"}, {"training.lr": None})
    ),
    *(
        Case(lambda o, x=x, guess=guess: train(o, overrides=x), f'did you mean "{guess}"')
        for x, guess in (
            ({"training.epoch": 5}, "epochs"),
            ({"training": {"epoch": 5}}, "epochs"),
            ({"trainig": {"epochs": 5}}, "training"),
            ({"loss.name": "cee"}, "ce"),
            ({"loss": {"name": "cee"}}, "ce"),
        )
    ),
    *(
        Case(lambda o, x=x: train(o, overrides={"training": {"betas": x}}), "betas")
        for x in ((0.9,), (0.9, "b"), {1: 2}, [None], object(), Path("a"))
    ),
    *misused(addkit.evaluate, None, 3, ["x"], b"x", names="run"),
    *(
        Case(lambda o, x=x: addkit.evaluate(o.run, **x), next(iter(x)))
        for x in (
            *({"steps": x} for x in (0, "5", [1, "a"], 1.5, [0], True)),
            *({"guidance": x} for x in (-1, "a", INF)),
            *({"chains": x} for x in (0, [1], "a")),
            *({"sampler": x} for x in ("renoize", 3, [3])),
            *({"split": x} for x in ("tset", 3)),
            *({"weights": x} for x in ("emma", 3)),
            *({"overrides": x} for x in ({"training.lr": 1}, "data.root=x", 3)),
            {"seed": "a"},
        )
    ),
    *(
        Case(lambda o, key=key: Grid(**{key: 5}), key)
        for key in ("steps", "guidance", "read_out", "sampler", "to_one", "early_exit")
    ),
    *misused(evaluate_run, None, 3, names="path", grid=Grid()),
    Case(lambda o: evaluate_run(o.run, {"steps": [1]}), "grid"),
    Case(lambda o: evaluate_run(o.run, Grid(), "test"), "options"),
    Case(lambda o: evaluate_run(o.run, Grid(), EvaluationOptions(seed="a")), "seed"),
    Case(lambda o: evaluate_run(o.run, Grid(), EvaluationOptions(split="tset")), "split"),
    Case(lambda o: evaluate_run(o.run, Grid(steps=[10**11])), "steps"),
    Case(lambda o: evaluate_run(o.run, Grid(guidance=[INF])), "guidance"),
    Case(lambda o: evaluate_run(o.run, Grid(chains=-3)), "chains"),
    # Components.
    Case(lambda o: loss().create({}, Problem()), "config"),
    Case(lambda o: loss().create(loss().settings(), None), "problem"),
    *(
        Case(lambda o, wrong=wrong: registered(**wrong), next(iter(wrong)))
        for wrong in ({"name": "A B"}, {"name": 3}, {"config": dict}, {"build": 3}, {"summary": 3})
    ),
]


def train(o: Things, *, recipe: Any = "digits", **wrong: Any) -> Any:
    """A training into `folder/t` with one wrong argument."""
    return addkit.train(recipe, **{"run_dir": o.folder / "t", **wrong})


def loss() -> Any:
    return load_registry().get("loss", "ce").spec


def registered(**wrong: Any) -> Registry:
    """A registry with a Spec of these wrong fields."""
    spec = replace(LossSpec("x", loss().config, loss().build, "A loss."), **wrong)

    class Plugin:
        addkit_components = staticmethod(addkit.hookimpl(lambda: [spec]))

    return Registry.of([("x", Plugin)])


def test_there_are_more_than_135() -> None:
    assert len(CASES) >= 135


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.names)
def test_it_names_the_argument(things: Things, case: Case) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        case.call(things)
    assert case.names in str(caught.value)
    assert not (things.folder / "t").exists()


@pytest.mark.parametrize("path", ["", "none", "a\0b", "x" * 300, "/dev/null"])
def test_a_path_that_is_no_run(path: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for function in (addkit.load, Run.open):
        with pytest.raises(RunError):
            function(path)


def test_right_arguments_of_other_types(things: Things) -> None:
    one = things.predictor.predict(things.images, steps=2, seed=1)
    assert one == things.predictor.predict(things.images, steps=np.int64(2), seed=torch.tensor(1))
    assert Run(str(things.run)) == Run(things.run)


def test_votes_of_many_chains_are_a_distribution(things: Things) -> None:
    (told,) = things.predictor.predict(things.images[:1], chains=4096, steps=1, top=10)
    votes = [label.votes for label in told.labels]
    assert sum(votes) == pytest.approx(1, abs=1e-6)
    assert max(votes) <= 1
