"""Inputs beside the image, from the data set to an answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import addkit
from addkit.errors import AddkitWarning, RecipeError, UsageError
from addkit.model import build_data
from addkit.plugin.selection import FILES
from addkit.recipe import Recipe, read_recipe
from addkit.runs import Run
from addkit.training.checks import check_training

PLUGIN = str(Path(__file__).parents[1] / "columns_plugin.py")
COLUMNS = ("data.name=digits-columns", "conditioner.name=reader")


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES, PLUGIN)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained: Callable[..., Path]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FILES, PLUGIN)
        return trained(tmp_path_factory.mktemp("columns") / "run", *COLUMNS)


def _recipe(recipes: Path, *changes: str) -> Recipe:
    return read_recipe(recipes / "digits.toml", changes)


def _checked(recipe: Recipe) -> None:
    check_training(recipe, build_data(recipe).facts)


def test_a_run_knows_its_columns(run: Path) -> None:
    half, size, name = Run.open(run).facts().columns
    assert (half.name, half.kind, half.categories) == ("half", "category", ("low", "high"))
    assert (size.name, size.kind, size.mean, size.std) == ("size", "number", 5.0, 2.0)
    assert (name.name, name.kind) == ("name", "text")


def test_answers_depend_on_what_is_known(run: Path) -> None:
    predictor = addkit.load(run)
    batch = build_data(predictor.recipe).split("test").batch(range(4), None)
    with pytest.warns(AddkitWarning, match='"reader" reads half, size, name'):
        nothing = predictor.predict(batch.images)
    rows = predictor.predict(batch.images, side_inputs=batch.side_inputs)
    assert rows != nothing
    assert predictor.predict(batch.images, side_inputs={}) == nothing
    low = predictor.predict(batch.images, side_inputs={"half": "low"})
    assert low == predictor.predict(batch.images, side_inputs={"half": torch.zeros(4).long()})
    assert low != predictor.predict(batch.images, side_inputs={"half": "high"})


@pytest.mark.parametrize(
    ("side_inputs", "text"),
    [
        ({"haf": "low"}, r'no column "haf" \(did you mean "half"\?\); this run reads: half, size'),
        ({"half": "lwo"}, r'"lwo" is no category of column "half" \(did you mean "low"\?\)'),
        ({"size": "big"}, '"big" in column "size" is not a number'),
        ({"size": torch.zeros(2)}, '"size" has 2 rows, too few'),
    ],
)
def test_what_is_no_column_or_value_is_refused(run: Path, side_inputs: dict, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        addkit.load(run).predict(torch.zeros(3, 1, 8, 8), side_inputs=side_inputs)


def test_nothing_side_inputs_is_read_by_other_conditioners(digits_run: Path) -> None:
    with pytest.raises(UsageError, match='conditioner "mean-token" reads no side inputs'):
        addkit.load(digits_run).predict(torch.zeros(1, 1, 8, 8), side_inputs={"half": "low"})


def test_a_conditioner_without_columns_to_read_is_refused(recipes: Path) -> None:
    recipe = _recipe(recipes, "conditioner.name=reader")
    with pytest.raises(RecipeError, match='and the data "digits" has none; take data with columns'):
        _checked(recipe)
    _checked(_recipe(recipes, *COLUMNS))
    _checked(_recipe(recipes, "data.name=digits-columns"))


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_rows_side_inputs_images_cannot_be_mixed(recipes: Path, key: str) -> None:
    recipe = _recipe(recipes, *COLUMNS, f"augmentation.{key}=0.2")
    text = f'{key} cannot mix what the conditioner "reader" reads; set to 0'
    with pytest.raises(RecipeError, match=text):
        _checked(recipe)
