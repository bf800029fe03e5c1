"""Recipes: the whole of an experiment as one TOML file, checked before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.lazy import lazy

if TYPE_CHECKING:
    from addkit.recipe.model import Recipe, dump_recipe
    from addkit.recipe.reading import read_recipe, recipe_from_tables
    from addkit.recipe.tables import (
        Ablation,
        Arm,
        Augmentation,
        Control,
        Distributed,
        Sampling,
        Training,
    )

_HOMES = {
    "addkit.recipe.model": ("Recipe", "dump_recipe"),
    "addkit.recipe.tables": (
        "Ablation",
        "Arm",
        "Augmentation",
        "Control",
        "Distributed",
        "Sampling",
        "Training",
    ),
    "addkit.recipe.reading": ("read_recipe", "recipe_from_tables"),
}
"""Modules of the public names. Imported on first use: shells complete recipes without pydantic."""

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

__getattr__ = lazy(__name__, _HOMES)
