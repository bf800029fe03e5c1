"""A recipe of own pictures takes from its encoder what it leaves unset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from addkit.model import InputPlan, build_data, with_encoder_input
from addkit.recipe import Recipe, read_recipe, recipe_from_tables


@pytest.fixture
def recipe(tmp_path: Path, recipes: Path):
    """`recipe(*overrides)`: two classes of four pictures, and a file that need not exist."""
    noise = np.random.default_rng(0)
    for number in range(8):
        file = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(file)
    changes = [
        f"data.root={tmp_path / 'pictures'}",
        *("encoder.model=tf_efficientnet_lite0", "encoder.weights=lite0.pth"),
    ]
    return lambda *more: read_recipe(recipes / "image-folder.toml", [*changes, *more])


def _input(recipe: Recipe) -> InputPlan:
    return InputPlan.of(recipe, build_data(recipe).facts)


def test_the_input_follows_the_weights(recipe) -> None:
    found = _input(recipe())
    assert (found.image_size, found.shorter_side, found.mean) == (224, 256, (0.5,) * 3)
    assert found.expected == ("image_size", "mean", "std", "interpolation", "crop_share")
    assert "tf_efficientnet_lite0" in found.origin


def test_a_recipes_own_keys_win(recipe) -> None:
    found = _input(recipe("data.image_size=96", "data.crop_share=1", "data.fit=squash"))
    assert (found.image_size, found.shorter_side, found.fit) == (96, 96, "squash")
    assert found.expected == ("mean", "std", "interpolation")


def test_an_encoder_without_weights_expects_nothing(recipe, recipes: Path) -> None:
    root = recipe().choices["data"].config.root
    small = read_recipe(recipes / "image-folder-small.toml", [f"data.root={root}"])
    found = _input(small)
    assert (found.image_size, found.mean[0], found.origin) == (64, 0.485, "")
    assert with_encoder_input(small) == small


def test_a_run_stores_the_values(recipe, tmp_path: Path) -> None:
    """So that another version of timm cannot change the input of a run."""
    fixed = with_encoder_input(recipe())
    assert with_encoder_input(fixed) == fixed
    stored = recipe_from_tables(fixed.tables(), tmp_path / "recipe.toml")
    assert stored.choices["data"].config == fixed.choices["data"].config
    assert build_data(stored).facts == build_data(recipe()).facts
    assert _input(fixed).origin == ""
