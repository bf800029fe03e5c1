"""Recipes: the whole of an experiment as one TOML file, checked before anything is built."""

from __future__ import annotations

from addkit.recipe.model import (
    Ablation,
    Arm,
    Augmentation,
    Control,
    Distributed,
    Recipe,
    Sampling,
    Training,
)
from addkit.recipe.reading import read_recipe, recipe_from_tables
from addkit.recipe.writing import dump_recipe

__all__ = [
    "Ablation",
    "Arm",
    "Augmentation",
    "Control",
    "Distributed",
    "Recipe",
    "Sampling",
    "Training",
    "dump_recipe",
    "read_recipe",
    "recipe_from_tables",
]
