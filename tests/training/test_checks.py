"""What is refused, or told, before a training begins."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from addkit.errors import AddkitWarning, RecipeError
from addkit.model import build_data
from addkit.recipe import Recipe, read_recipe
from addkit.training.checks import check_training

RECIPES = Path(__file__).parents[2] / "recipes"
PROCESSES = {
    "gaussian": ["sampler.name=renoise"],
    "blocks": ["sampler.name=renoise"],
    "masked": ["embedding.name=token", "sampler.name=maskgit"],
    "autoregressive": ["embedding.name=token", "sampler.name=left-to-right"],
}


def _recipe(process: str, *changes: str) -> Recipe:
    overrides = [f"process.name={process}", *PROCESSES[process], "data.name=emoji", *changes]
    return read_recipe(RECIPES / "emoji.toml", [*overrides, "control.heads=[]"])


@pytest.mark.parametrize("process", ["masked", "autoregressive"])
def test_a_rollout_that_nothing_reads_is_refused(process: str) -> None:
    recipe = _recipe(process, "training.rollout=0.5")
    with pytest.raises(RecipeError, match=rf'rollout is 0.5, and the process "{process}"'):
        check_training(recipe, build_data(recipe).facts)


@pytest.mark.parametrize("process", ["masked", "autoregressive"])
def test_noise_levels_that_nothing_reads_are_told(process: str) -> None:
    recipe = _recipe(process)
    with pytest.warns(AddkitWarning, match=f'token_times.* the process "{process}"'):
        check_training(recipe, build_data(recipe).facts)


@pytest.mark.parametrize(
    ("process", "changes"),
    [
        ("gaussian", ["training.rollout=0.5"]),
        ("blocks", ["training.rollout=0.5"]),
        ("masked", ["training.token_times=[1, 0, 0]"]),
    ],
)
def test_what_is_read_is_silent(process: str, changes: list[str]) -> None:
    recipe = _recipe(process, *changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_training(recipe, build_data(recipe).facts)
