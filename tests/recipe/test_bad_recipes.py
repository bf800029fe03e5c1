"""Sixty mistakes that people make in recipes: each is told with its file, line and key."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from addkit.recipe import read_recipe
from addkit.recipe.errors import Fault, FaultyRecipeError
from addkit.recipe.files import shipped

DIGITS = f"extends = '{shipped('digits')}'\n"
"""The first line of each."""

BAD = [
    # Misspelt keys, tables and names.
    ("[training]\nepoch = 3", 3, "training.epoch", 'did you mean "epochs"?'),
    ("[training]\n\n# why\nlearning_rate = 1e-3", 5, "training.learning_rate", "unknown key"),
    ("[training]\nLR = 1e-3", 3, "training.LR", 'did you mean "lr"?'),
    ("[training]\nbatch-size = 8", 3, "training.batch-size", 'did you mean "batch_size"?'),
    ("[trainning]\nepochs = 3", 2, "trainning", 'did you mean "training"?'),
    ("[Training]\nepochs = 3", 2, "Training", 'did you mean "training"?'),
    ("[optimizer]\nname = 'adam'", 2, "optimizer", 'unknown table "optimizer"'),
    ("[loss]\nname = 'cross-entropy'", 3, "loss.name", 'no loss is called "cross-entropy"'),
    ("[loss]\nname = 'weighted_ce'", 3, "loss.name", 'did you mean "weighted-ce"?'),
    ("[encoder]\nname = 'resnet'", 3, "encoder.name", "Known: cnn, timm, vit"),
    ("[schedule]\nname = 'cosin'", 3, "schedule.name", 'did you mean "cosine"?'),
    ("[schedule]\nofset = 0.01", 3, "schedule.ofset", 'did you mean "offset"?'),
    ("[to-one]\nname = 'argmax'", 2, "to-one", 'did you mean "to_one"?'),
    ("[readout]\nname = 'last'", 2, "readout", 'did you mean "read_out"?'),
    ("seeds = 3", 2, "seeds", 'did you mean "seed"?'),
    ("sumary = 'x'", 2, "sumary", 'did you mean "summary"?'),
    ("epochs = 3", 2, "epochs", "unknown key"),
    ("training.epoch = 3", 2, "training.epoch", 'did you mean "epochs"?'),
    ("loss = {name = 'mes'}", 2, "loss.name", 'did you mean "mse"?'),
    ("[denoiser]\nname = 'mlp'\nheads = 4", 4, "denoiser.heads", "unknown key"),
    # Wrong types.
    ("[training]\nreuse = '3'", 3, "training.reuse", 'a whole number, found "3"'),
    ("[training]\nreuse = 3.5", 3, "training.reuse", "a whole number, found 3.5"),
    ("[training]\nreuse = true", 3, "training.reuse", "a whole number, found true"),
    ("[training]\nreuse = [3]", 3, "training.reuse", "a whole number, found [3]"),
    ("[training]\nlr = '1e-3'", 3, "training.lr", 'a number, found "1e-3"'),
    ("[training]\nbetas = 0.9", 3, "training.betas", "a list, found 0.9"),
    ("[training]\nbetas = [0.9]", 3, "training.betas", "too few items"),
    ("[training]\nbetas = [0.9, 0.95, 0.99]", 3, "training.betas", "at most 2"),
    ("[training]\nbetas = [0.9, 'x']", 3, "training.betas[1]", 'a number, found "x"'),
    ("[training]\nstratified = 'yes'", 3, "training.stratified", "true or false"),
    ("[training]\nstratified = 1", 3, "training.stratified", "true or false, found 1"),
    ("[encoder]\nwidths = 32", 3, "encoder.widths", "a list, found 32"),
    ("[encoder]\nwidths = [32, 'big']", 3, "encoder.widths[1]", "a whole number"),
    ("[loss]\nname = 3", 3, "loss.name", "name must be a string, found 3"),
    ("name = 3", 2, "name", "a string, found 3"),
    ("loss = 'mse'", 2, "loss", "a table such as [loss]"),
    ("[[loss]]\nname = 'mse'", 2, "loss", "a table such as [loss]"),
    ("[seed]\nvalue = 1", 2, "seed", "a whole number, found a table"),
    ("[training.reuse]\nmost = 3", 2, "training.reuse", "a whole number, found a table"),
    ("training = 3", 2, "training", "a table such as [training]"),
    # Values out of range.
    ("seed = -1", 2, "seed", "at least 0, found -1"),
    ("[training]\nreuse = 0", 3, "training.reuse", "at least 1, found 0"),
    ("[training]\nlr = 0", 3, "training.lr", "above 0, found 0"),
    ("[training]\nlr = nan", 3, "training.lr", "finite number"),
    ("[training]\nlr = inf", 3, "training.lr", "finite number"),
    ("[training]\nema = 1.0", 3, "training.ema", "below 1, found 1.0"),
    ("[training]\npure_noise = 1.5", 3, "training.pure_noise", "at most 1, found 1.5"),
    ("[training]\nprecision = 'fp16'", 3, "training.precision", '"float32" or "bfloat16"'),
    ("[sampling]\nsteps = 0", 3, "sampling.steps", "at least 1"),
    ("[sampling]\nsteps = 'many'", 3, "sampling.steps", '"auto", found "many"'),
    ("[augmentation]\ncrop = [1.0, 0.5]", 2, "augmentation", "give [low, high]"),
    ("[control]\nheads = ['liner']", 3, "control.heads[0]", 'did you mean "linear"?'),
    ("[[ablation.arms]]\nname = ''", 2, "ablation.arms[0].name", "no shorter than 1"),
    ("[training]\nlr = 1e-3\nbase_lr = 1e-3", 2, "training", "exactly one of lr and base_lr"),
    # Choices that do not go together.
    ("[conditioner]\nname = 'class-token'", 3, "conditioner.name", "no class token"),
    ("[sampler]\nname = 'beam'", 3, "sampler.name", "cannot walk"),
    # No TOML, and no such file.
    ("[training\nepochs = 3", 2, "", "not valid TOML"),
    ("[training]\nepochs = 3\nepochs = 4", 4, "", "not valid TOML"),
    ("[training]\nepochs = three", 3, "", "not valid TOML"),
    ("[training]\nlr = .001", 3, "", "not valid TOML"),
]


def faults_of(path: Path) -> tuple[Fault, ...]:
    with pytest.raises(FaultyRecipeError) as caught:
        read_recipe(path)
    return caught.value.faults


@pytest.mark.parametrize(("text", "line", "key", "words"), BAD)
def test_file_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, key: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(DIGITS + text, "utf-8")
    fault, *others = faults_of(Path("x.toml"))
    assert (fault.origin.place, fault.origin.line, fault.key) == ("x.toml", line, key)
    assert words in fault.text
    assert str(fault).startswith(f"x.toml:{line}:")
    assert not others


def test_there_are_sixty() -> None:
    assert len({text for text, *_ in BAD}) == len(BAD) == 60


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[training]\nepoch = 3", ("epoch", "epochs, batch_size", "epochs")),
        ("[loss]\nname = 'mes'", ("mes", "asymmetric, ce, mse, mse-noise", "mse")),
        ("[training]\nreuse = 0", ("0", "at least 1", None)),
        ("seeds = 3", ("seeds", "name, summary, seed", "seed")),
        ("[losses]", ("losses", "task, tokenizer, data", "loss")),
        ("loss = 3", ("3", "a table such as [loss]", None)),
    ],
)
def test_parts_for_programs(tmp_path: Path, text: str, parts: tuple[str, str, str | None]) -> None:
    found, allowed, guess = parts
    (tmp_path / "x.toml").write_text(DIGITS + text, "utf-8")
    (fault,) = faults_of(tmp_path / "x.toml")
    assert (fault.found, fault.guess) == (found, guess)
    assert fault.allowed is not None
    assert fault.allowed.startswith(allowed)


def test_it_goes_from_process_to_process(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(DIGITS + "[training]\nepochs = 0", "utf-8")
    with pytest.raises(FaultyRecipeError) as caught:
        read_recipe(tmp_path / "x.toml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.faults) == (str(caught.value), caught.value.faults)


def test_a_fault_in_what_is_extended_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(DIGITS + "[training]\nepochs = 0", "utf-8")
    (tmp_path / "b.toml").write_text("extends = 'a.toml'\nname = 'b'", "utf-8")
    (fault,) = faults_of(tmp_path / "b.toml")
    assert (Path(fault.origin.place).name, fault.origin.line) == ("a.toml", 3)


def test_a_base_that_is_not_there_is_told_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("name = 'x'\nextends = 'basic.toml'", "utf-8")
    (tmp_path / "basis.toml").write_text("", "utf-8")
    (fault,) = faults_of(tmp_path / "x.toml")
    assert (fault.origin.line, fault.key, fault.guess) == (2, "extends", "basis.toml")
